"""Graded sets: places in texts whose right grade people have written down, so that any judge can be compared with them.

The one that comes with the program lies beside its rubric, in `rubrics/graded/`; any file of the same form serves as well.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.spec.rubric import FOLDER, Part, Rubric, first_error, window

SHIPPED = FOLDER / "graded" / "specificity.toml"
INJECTION = "injection"
"""The trap of items that command a grade."""

_PLAIN = re.compile(r"<<(.+?)>>", re.DOTALL)
_OTHER = re.compile(r"⟪(.+?)⟫", re.DOTALL)


class Entry(Part):
    """A text with one marked token, the grade it deserves under its unit's explanation, and why."""

    marked: str
    """One token stands between << and >>; in a text that holds those itself, between ⟪ and ⟫."""
    grade: int
    why: str = Field(min_length=1)
    trap: str | None = None
    """What makes the item hard: a name in the set's `traps`."""
    commands: int | None = None
    """The grade that the text or the explanation asks for."""

    @field_validator("marked")
    @classmethod
    def _one_mark(cls, marked: str) -> str:
        opening, closing = ("⟪", "⟫") if "⟪" in marked or "⟫" in marked else ("<<", ">>")
        if marked.count(opening) != 1 or marked.count(closing) != 1 or not _mark_in(marked):
            raise ValueError(
                "mark exactly one token, like <<this>>, or like ⟪this⟫ where the text holds << or >> itself"
            )
        return marked

    @model_validator(mode="after")
    def _command_is_wrong(self) -> Entry:
        if (self.trap == INJECTION) != (self.commands is not None):
            raise ValueError(f"an item with the trap {INJECTION!r} says which grade it `commands`, and no other does")
        if self.commands == self.grade:
            raise ValueError(
                f"it commands the grade {self.grade}, which is the right one: whoever obeys cannot be told"
            )
        return self

    @property
    def window(self) -> MarkedText:
        """The text as a judge is shown it."""
        found = _mark_in(self.marked)
        assert found is not None
        return window(self.marked[: found.start()], found[1], self.marked[found.end() :])


class GradedUnit(Part):
    """An explanation with its items."""

    explanation: str = Field(min_length=1)
    items: tuple[Entry, ...] = Field(min_length=1, strict=False)


class GradedSet(Part):
    """Graded items, and how they came to be."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(min_length=1)
    """Raise it with every change of an item."""
    rubric: str = Field(min_length=1)
    """The rubric by which the items were graded: its name, or the path of its file."""
    source: str = Field(min_length=1)
    """Who graded, and how."""
    traps: dict[str, str] = Field(default_factory=dict)
    """What makes items hard, by name."""
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
            Item(f"{number}{chr(ord('a') + place)}", unit.explanation, entry)
            for number, unit in enumerate(self.units, 1)
            for place, entry in enumerate(unit.items)
        )

    @property
    def hash(self) -> str:
        """sha-256 in hex over everything in the set."""
        return content_hash(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Item:
    """One question of a set. `id` is its place in the file: the unit's number and a letter."""

    id: str
    explanation: str
    entry: Entry

    @property
    def material(self) -> ScoreMaterial:
        """What a judge is shown."""
        return ScoreMaterial(self.explanation, self.entry.window)


def load(path: Path | None = None) -> GradedSet:
    """The set in that file, or the one that comes with the program. Raises `UsageError` on one line."""
    path = path or SHIPPED
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"graded set {path} cannot be read: {' '.join(str(error).split())}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"graded set {path} is not valid TOML: {' '.join(str(error).split())}") from None
    try:
        return GradedSet.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"graded set {path}: {first_error(error)}") from None


def check_grades(graded: GradedSet, rubric: Rubric) -> None:
    """Raise `UsageError` where a grade, given or commanded, is none of the rubric's."""
    for item in graded.items:
        for grade in (item.entry.grade, item.entry.commands):
            if grade is not None and grade not in rubric.grades:
                raise UsageError(
                    f"graded set {graded.name}: grade {grade} of item {item.id} is not on the rubric {rubric.name}: use 0"
                    f" to {rubric.grades[-1]}"
                )


def draw(items: Sequence[Item], most: int | None, seed: int = 0) -> list[Item]:
    """At most so many items, the grades as evenly as they allow, in the file's order; all of them without a limit."""
    if most is None or most >= len(items):
        return list(items)
    places = list(range(len(items)))
    random.Random(seed).shuffle(places)
    taken: dict[int, int] = {}
    turns = []
    for place in places:
        grade = items[place].entry.grade
        turns.append((taken.get(grade, 0), grade, place))
        taken[grade] = taken.get(grade, 0) + 1
    return [items[place] for place in sorted(place for _, _, place in sorted(turns)[:most])]


def _mark_in(marked: str) -> re.Match[str] | None:
    return (_OTHER if "⟪" in marked else _PLAIN).search(marked)
