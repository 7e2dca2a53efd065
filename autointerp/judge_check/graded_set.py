"""Graded sets: marked texts whose right grade people have written down, to measure any judge against.

The set that comes with the program is in `rubrics/graded/`, beside its rubric. Any TOML file of the same form will do, and so will a table
of items (`graded_table`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_serializer, field_validator, model_validator

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.spec.rubric import FOLDER, Part, Rubric, load_toml, marked_window

SHIPPED = FOLDER / "graded" / "specificity.toml"
"""The set that comes with the program."""
INJECTION = "injection"
"""The trap of items that command a grade."""


class Entry(Part):
    """A text with one marked token, its right grade under its unit's explanation, and the reason."""

    marked: str
    """One token is between << and >>, or between ⟪ and ⟫ if the text itself contains those."""
    grade: float = Field(ge=0, allow_inf_nan=False)
    """A grade of the rubric, or the mean of several people's grades."""
    why: str = ""
    trap: str | None = None
    """What makes the item hard: a name in the set's `traps`."""
    commands: int | None = None
    """The grade that the text or the explanation demands."""

    @field_validator("marked")
    @classmethod
    def _one_mark(cls, marked: str) -> str:
        if _window(marked) is None:
            raise ValueError(
                "mark exactly one token, like <<this>>, or like ⟪this⟫ if the text itself contains << or >>"
            )
        return marked

    @field_validator("grade")
    @classmethod
    def _whole_if_possible(cls, grade: float) -> float:
        return int(grade) if float(grade).is_integer() else grade

    @field_serializer("grade")
    def _as_it_is(self, grade: float) -> int | float:
        return grade

    @model_validator(mode="after")
    def _command_is_wrong(self) -> Entry:
        if (self.trap == INJECTION) != (self.commands is not None):
            raise ValueError(
                f"an item needs the key `commands` if its trap is {INJECTION!r}, and must not have it otherwise"
            )
        if self.commands == self.level:
            raise ValueError(
                f"it commands the grade {self.commands}, which is the right one: a judge that obeys could not be told from one that is right"
            )
        return self

    @property
    def level(self) -> int:
        """The right grade, or the one next to a mean of grades, the higher one of two that are equally near."""
        return math.floor(self.grade + 0.5)

    @property
    def shares(self) -> dict[int, float]:
        """The right grade with the share 1, or the two grades around a mean with shares that have this mean."""
        below = math.floor(self.grade)
        above = self.grade - below
        return {below: 1 - above, below + 1: above} if above else {below: 1.0}

    @property
    def window(self) -> MarkedText:
        """The text as a judge is shown it."""
        window = _window(self.marked)
        assert window is not None
        return window


class GradedUnit(Part):
    """An explanation with its items."""

    explanation: str = Field(min_length=1)
    items: tuple[Entry, ...] = Field(min_length=1, strict=False)


class GradedSet(Part):
    """Graded items, and how they were graded."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(min_length=1)
    """Raise it with every change of an item."""
    rubric: str = Field(min_length=1)
    """The rubric by which the items were graded: its name, or the path of its file."""
    source: str = Field(min_length=1)
    """Who graded, and how."""
    traps: dict[str, str] = Field(default_factory=dict)
    """Descriptions of what makes items hard, by name."""
    units: tuple[GradedUnit, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _traps_are_known(self) -> GradedSet:
        for item in self.items:
            if item.entry.trap is not None and item.entry.trap not in self.traps:
                raise ValueError(f"trap {item.entry.trap!r} of item {item.id} is not in [traps]: describe it there")
        return self

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, in the file's order."""
        return tuple(
            Item(f"{number}{_letters(position)}", unit.explanation, entry)
            for number, unit in enumerate(self.units, 1)
            for position, entry in enumerate(unit.items)
        )

    @property
    def hash(self) -> str:
        """sha-256 in hex over everything in the set."""
        return content_hash(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Item:
    """One item of a set. `id` is its position in the file: the unit's number and letters."""

    id: str
    explanation: str
    entry: Entry

    @property
    def material(self) -> ScoreMaterial:
        """What a judge is shown."""
        return ScoreMaterial(self.explanation, self.entry.window)


def load(path: Path | None = None) -> GradedSet:
    """Load the set in a TOML file, by default the one that comes with the program. Raises `UsageError` on one line."""
    return load_toml(GradedSet, "graded set", path or SHIPPED)


def check_grades(graded: GradedSet, rubric: Rubric) -> None:
    """Raise `UsageError` if a right or commanded grade is not one of the rubric's."""
    for item in graded.items:
        for grade in (item.entry.grade, item.entry.commands):
            if grade is not None and not 0 <= grade <= rubric.grades[-1]:
                raise UsageError(
                    f"graded set {graded.name}: grade {grade:g} of item {item.id} is not on the rubric {rubric.name}: use 0"
                    f" to {rubric.grades[-1]}"
                )


def sample(items: Sequence[Item], most: int | None, seed: int = 0) -> list[Item]:
    """At most `most` items, balanced over their grades, in the file's order; all of them if `most` is None."""
    if most is None or most >= len(items):
        return list(items)
    positions = list(range(len(items)))
    random.Random(seed).shuffle(positions)
    # Rank each item among those of its grade. Taking the lowest ranks keeps the grades within one of each other.
    n_of_grade: dict[int, int] = {}
    ranked = []
    for position in positions:
        grade = items[position].entry.level
        ranked.append((n_of_grade.get(grade, 0), grade, position))
        n_of_grade[grade] = n_of_grade.get(grade, 0) + 1
    return [items[position] for position in sorted(position for _, _, position in sorted(ranked)[:most])]


def _letters(position: int) -> str:
    """a to z for the first 26 positions, then aa, ab, ..."""
    above, last = divmod(position, 26)
    return (_letters(above - 1) if above else "") + chr(ord("a") + last)


def _window(marked: str) -> MarkedText | None:
    """The text around its marked token; None unless exactly one token is marked."""
    brackets = ("⟪", "⟫") if "⟪" in marked or "⟫" in marked else ("<<", ">>")
    return marked_window(marked, *brackets)
