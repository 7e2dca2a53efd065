"""The planted world with a dictionary of one feature for each of its directions, so that the right feature of a search is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.planted_world import world as planted

TAUGHT = (*planted.CONCEPTS, *(f"filler{i}" for i in range(planted.FILLERS)))
"""What feature i answers to: the words of a concept, or one filler."""


@dataclass(frozen=True)
class Searched:
    """A subject, a dictionary whose feature i answers to `TAUGHT[i]` alone, and a corpus."""

    subject: Path
    dictionary: Path
    corpus: Path


def make(folder: Path) -> Searched:
    """Write the world."""
    world = planted.make(folder, documents=120)
    planted.write_dictionary(folder / "one-each", tuple((name,) for name in TAUGHT))
    return Searched(world.subject, folder / "one-each", world.corpus)


def fillers(rng: random.Random, n: int, without: Sequence[str] = ()) -> str:
    """A text of n filler words."""
    names = [name for name in TAUGHT[len(planted.CONCEPTS) :] if name not in without]
    return " ".join(rng.choice(names) for _ in range(n))
