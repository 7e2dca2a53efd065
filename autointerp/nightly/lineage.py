"""Recognises versions of the same dictionary by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORDS = "v|ver|version|step|epoch|iter|checkpoint|ckpt"
_DATE = r"\d{4}([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?:[T_-]?\d{2}[-:]?\d{2}(?:[-:]?\d{2})?Z?)?"
_VERSION = re.compile(
    rf"(?:(?:^|[-_.@ ])(?:{_WORDS})[-_.=]?\d+(?:\.\d+)*|@\d+(?:\.\d+)*|(?:^|[-_.@ ]){_DATE})$", re.IGNORECASE
)


_CHECKPOINT = re.compile(r"ae_\d+\.pt")
"""A training step of dictionary_learning, in the folder of its training."""
_WEIGHTS = re.compile(r"\.(?:safetensors|npz|pth?)$")


def lineage_of(parts: Sequence[str]) -> str:
    """The name that all versions of a dictionary share: a path's parts without the version that each ends with.

    A version is `v12`, `step1000`, `epoch2` and the like, after a separator or as a whole part, or `@3`, or a date. Parts that
    consist of a version only are left out, as is the step of a checkpoint `ae_1000.pt`. The suffix of a file does not count.
    """
    return "/".join(filter(None, (_stripped(part)[0] for part in parts))) or "/".join(parts)


def version_of(path: str) -> tuple[int, ...]:
    """The numbers in a path's versions, which order versions of one dictionary. Empty if it has none."""
    return tuple(int(n) for part in path.split("/") for n in re.findall(r"\d+", _stripped(part)[1]))


def _stripped(part: str) -> tuple[str, str]:
    """A name without its versions, and those versions."""
    if _CHECKPOINT.fullmatch(part):
        return "", part
    part, versions = _WEIGHTS.sub("", part), ""
    while match := _VERSION.search(part):
        part, versions = part[: match.start()], match[0] + versions
    return part, versions
