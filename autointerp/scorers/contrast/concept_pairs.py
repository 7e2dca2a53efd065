"""The written concept pairs: short texts that differ in one concept, shipped as `concept_pairs.toml`, which says how they were made."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class ConceptPair:
    """Two sides of equally many texts. The texts at the same place are alike except for the concept."""

    concept: str
    family: str
    """The kind of concept, such as `syntax` or `code`."""
    sides: tuple[tuple[str, ...], tuple[str, ...]]
    """The texts with the concept, and those without it."""


@cache
def concept_pairs() -> tuple[ConceptPair, ...]:
    """All pairs, in the order of the file."""
    text = files("autointerp.scorers.contrast").joinpath("concept_pairs.toml").read_text(encoding="utf-8")
    return tuple(
        ConceptPair(row["concept"], row["family"], (tuple(row["with"]), tuple(row["without"])))
        for row in tomllib.loads(text)["pair"]
    )


@cache
def texts() -> tuple[str, ...]:
    """All texts of all pairs: of each pair those with the concept, then those without it."""
    return tuple(text for pair in concept_pairs() for side in pair.sides for text in side)
