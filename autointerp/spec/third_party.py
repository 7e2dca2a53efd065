"""Judges and scorers of other packages, found by their entry points `autointerp.judges` and `autointerp.scorers`.

An entry point names a class, such as `mine = "my_package.judges:MyJudge"`. Names are known without importing the package, which is imported
when the judge or the scorer is used. See docs/third-party.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autointerp.errors import UsageError

JUDGES, SCORERS = "autointerp.judges", "autointerp.scorers"


@cache
def offered(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, in the order of their names. If two packages offer one name, the first package's counts."""
    found = sorted(entry_points(group=group), key=lambda point: (point.name, package_of(point)))
    return {point.name: point for point in reversed(found)}


def load(point: EntryPoint) -> Any:
    """The class that an entry point names. Raises `UsageError` if it cannot be imported."""
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{point.name} of the package {package_of(point)} needs {error.name}, which is not installed: pip install {error.name}"
        ) from None
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UsageError(
            f"{point.name} of the package {package_of(point)} cannot be loaded ({reason}): install or update that package"
        ) from None


def package_of(point: EntryPoint) -> str:
    """The name of the package that offers an entry point."""
    return point.dist.name if point.dist is not None else point.value
