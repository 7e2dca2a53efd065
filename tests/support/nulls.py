"""Finds null values of a summary that have no reason beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autointerp.findings.absences import STATEMENTS


def without_reason(part: Any, path: str = "summary", reason: Any = None) -> Iterator[str]:
    """The paths of null values whose part gives no reason for them. `reason` is that of the field in which the part stands."""
    if isinstance(part, list):
        for number, value in enumerate(part):
            yield from without_reason(value, f"{path}[{number}]", reason)
    if not isinstance(part, dict):
        return
    absent = part.get("absent", {})
    for name, value in part.items():
        why = part.get("p_superior_why") if name.startswith("p_superior") and "p_superior_why" in part else None
        given = absent.get(name) or why or part.get("why") or reason
        if value is None and name not in STATEMENTS and not given:
            yield f"{path}.{name}"
        is_part = isinstance(value, dict) and {"absent", "why"} & value.keys()
        yield from without_reason(value, f"{path}.{name}", None if is_part else absent.get(name))
