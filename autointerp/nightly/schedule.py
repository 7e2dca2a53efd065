"""The limits of a night: budget, schedule and notifications. Read without loading what finds dictionaries, which needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.spec.section import Section
from autointerp.spec.toml_files import read_toml, wrong_key


class Night(Section):
    """Budget, schedule and notifications of a night."""

    usd: float | None = Field(None, ge=0)
    """Hard limit in dollars for the night's runs and anchors together. Left out: only `spec.budget.usd` applies, to each run."""
    start: str = Field("01:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Local time of the workers, such as `01:00`, at which the service starts a night."""
    deadline: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Local time, such as `06:00`, after which no run is started. Started runs continue to their end."""
    order: Literal["change", "newest"] = "change"
    """Order of scoring: `change` takes first versions, then the largest change of the decoder; `newest` takes the newest files first."""
    webhook: str | None = Field(None, pattern=r"^https?://[^\s/]+")
    """URL to which regressions are posted as JSON."""
    anchors: int = Field(50, ge=0, le=1000)
    """Number of questions that are asked again every night to measure the drift of the judge. 0: none."""


def load(path: Path) -> Night:
    """The limits in a nightly file. Raises `UsageError`."""
    try:
        return Night.model_validate(read_toml(path).get("night", {}))
    except ValidationError as error:
        raise UsageError(wrong_key(error, Night, str(path))) from None
