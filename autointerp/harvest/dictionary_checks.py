"""Measurements of the whole dictionary: its fit, checked before a harvest is paid for, and its studies, made when it is merged.

Both are kept as JSON beside the harvest: the fit in its plan, the studies in a file named after their number of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.json_values import plain
from autointerp.spec.spec import Spec

Figures = dict[str, Any]


def as_json(check: Any) -> Figures:
    """A `sae.analysis.fit_check.Check` as JSON values."""
    figures = asdict(check) | {"loss": check.loss and check.loss._asdict()}
    values: Figures = plain(figures)
    return values


def require_fit(spec: Spec, check: Mapping[str, Any] | None) -> None:
    """Raise `UsageError` where the dictionary explains nothing, unless the spec says to continue."""
    if spec.dictionary.check and check is not None and check["verdict"] == "nothing":
        raise UsageError(
            f"dictionary {spec.dictionary.path} {check['said']} (dictionary.check = false continues all the same)"
        )


def names(spec: Spec) -> tuple[str, ...]:
    """Name of the file of the spec's studies; none where it wants no studies."""
    return (f"studies-{spec.studies.tokens}.json",) if spec.studies.tokens else ()


def read(harvest: Path, spec: Spec) -> Figures | None:
    """The studies beside a finished harvest; None where the spec wants none."""
    files = names(spec)
    if not files or not (harvest / files[0]).is_file():
        return None
    figures: Figures = json.loads((harvest / files[0]).read_text(encoding="utf-8"))
    return figures
