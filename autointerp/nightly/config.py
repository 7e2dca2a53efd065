"""What `autointerp nightly` reads: where dictionaries appear, what a night may spend, and the spec that each is given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.nightly.sources import Candidate, Source
from autointerp.spec import sections
from autointerp.spec import spec as spec_
from autointerp.spec.providers import PROVIDERS, provider_of
from autointerp.spec.sections import Section
from autointerp.spec.spec import Spec
from autointerp.spec.toml_files import read_toml, resolve_paths, wrong_key


class Night(Section):
    """What a night may cost, how long it may begin runs, and whom it tells."""

    usd: float | None = Field(None, ge=0)
    """Dollars that the night's runs and anchors may cost together, a hard stop. Left out: only `spec.budget.usd` holds, a run."""
    start: str = Field("01:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Local time of the workers, such as `01:00`, at which the service begins a night."""
    deadline: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Local time, such as `06:00`, after which no run is begun. Runs that were begun go on to their end."""
    order: Literal["change", "newest"] = "change"
    """Which dictionary comes first: the one whose decoder changed most, first versions before all others, or the newest."""
    webhook: str | None = Field(None, pattern=r"^https?://[^\s/]+")
    """Where regressions are posted as JSON."""
    anchors: int = Field(50, ge=0, le=1000)
    """Questions that are asked again every night, to tell a judge that drifts from a dictionary that does. 0: none."""


class Nightly(Section):
    """The sources to watch, the night's limits, and the template."""

    night: Night = Night()
    sources: tuple[Source, ...] = Field(min_length=1, strict=False)
    spec: dict[str, Any]
    """Any key of the [spec](spec.md) but `dictionary.path`, which each night finds."""

    def spec_for(self, candidate: Candidate) -> Spec:
        """The spec of one dictionary's run. Raises `UsageError`."""
        own = {name: getattr(candidate, name) for name in ("format", "hook_point", "revision")}
        dictionary = self.spec.get("dictionary", {}) | {"path": candidate.path}
        return self._parse(dictionary | {name: value for name, value in own.items() if value is not None})

    def template(self) -> Spec:
        """The spec with a stand-in for the dictionary: whatever all runs share. Raises `UsageError`."""
        return self._parse(self.spec.get("dictionary", {}) | {"path": "dictionary"})

    def _parse(self, dictionary: dict[str, Any]) -> Spec:
        judges = {name: _in_batches(self.spec[name]) for name in ("judge", "explainer") if name in self.spec}
        return spec_.parse(self.spec | judges | {"dictionary": dictionary})


def load(path: Path, overrides: Iterable[str] = ()) -> Nightly:
    """Read a nightly file. Raises `UsageError`; relative paths are taken from the file's folder."""
    data = read_toml(path, overrides)
    template = data.get("spec")
    if isinstance(template, dict):
        resolve_paths(template, path.parent)
        given = template.get("dictionary", {})
        if not isinstance(given, dict) or "path" in given:
            raise UsageError(f"{path}: spec.dictionary.path is what each night finds: remove it, and name sources")
    for source in data.get("sources", []) if isinstance(data.get("sources"), list) else []:
        for key in ("folder", "registry"):
            if isinstance(source, dict) and isinstance(source.get(key), str):
                source[key] = str(path.parent / Path(source[key]).expanduser())
    try:
        config = Nightly.model_validate(data)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Nightly, str(path))) from None
    config.template()
    return config


def _in_batches(judge: Any) -> Any:
    """A judge's table with the batch transport, where the provider has one and nothing else is said."""
    if not isinstance(judge, dict) or "transport" in judge or "transport" not in sections.Judge.model_fields:
        return judge
    # A self-hosted server in the provider's place need not speak its batch protocol.
    provider = PROVIDERS.get(provider_of(str(judge.get("model", ""))))
    batches = provider is not None and provider.batches is not None and not judge.get("base_url")
    return judge | {"transport": "batch"} if batches else judge
