"""Which dictionaries are versions of the same one, by their names alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORDS = "v|ver|version|step|epoch|iter|checkpoint|ckpt"
_DATE = r"\d{4}([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?:[T_-]?\d{2}[-:]?\d{2}(?:[-:]?\d{2})?Z?)?"
_VERSION = re.compile(
    rf"(?:(?:^|[-_.@ ])(?:{_WORDS})[-_.=]?\d+(?:\.\d+)*|@\d+(?:\.\d+)*|(?:^|[-_.@ ]){_DATE})$", re.IGNORECASE
)


def lineage_of(parts: Sequence[str]) -> str:
    """A path's parts without the versions that they end with, joined; a part that is all version is left out.

    A version is `v12`, `step1000`, `epoch2` and the like after a separator or alone, `@3`, or a date.
    """
    return "/".join(filter(None, (_stripped(part)[0] for part in parts))) or "/".join(parts)


def version_of(path: str) -> tuple[int, ...]:
    """The numbers of a path's versions, in order: which of two versions is the later. Empty where it has none."""
    return tuple(int(n) for part in path.split("/") for n in re.findall(r"\d+", _stripped(part)[1]))


def _stripped(part: str) -> tuple[str, str]:
    """What is left of a name without its versions, and these."""
    versions = ""
    while found := _VERSION.search(part):
        part, versions = part[: found.start()], found[0] + versions
    return part, versions
