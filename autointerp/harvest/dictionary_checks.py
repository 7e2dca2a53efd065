"""Measurements of the whole dictionary: its fit, checked before a harvest, and its studies, made when the harvest is merged.

Both are stored as JSON beside the harvest: the fit in its plan, the studies in a file named after their number of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.spec.spec import Spec

Figures = dict[str, Any]
"""JSON values by name."""


def require_fit(spec: Spec, check: Mapping[str, Any] | None) -> None:
    """Raise `UsageError` if the dictionary explains nothing, unless the spec says to continue."""
    if spec.dictionary.check and check is not None and check["verdict"] == "nothing":
        raise UsageError(
            f"dictionary {spec.dictionary.path} {check['said']} (set dictionary.check = false to continue anyway)"
        )


def names(spec: Spec) -> tuple[str, ...]:
    """Name of the file of the spec's studies; empty if it requests no studies."""
    return (f"studies-{spec.studies.tokens}.json",) if spec.studies.tokens else ()


def read(harvest: Path, spec: Spec) -> Figures | None:
    """The studies beside a finished harvest; None if the spec requests none."""
    files = names(spec)
    if not files or not (harvest / files[0]).is_file():
        return None
    figures: Figures = json.loads((harvest / files[0]).read_text(encoding="utf-8"))
    return figures
