"""Rubrics: the scale that a judge applies, with its instructions and worked examples, read from a TOML file.

Rubrics are data. Those that come with the program are in `rubrics/`; any other file of the same form will do, with any number of
levels. `specificity` is the 0-3 rubric of Scaling Monosemanticity.
"""

from __future__ import annotations

import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.messages import MarkedText

FOLDER = Path(__file__).resolve().parents[2] / "rubrics"
"""The folder of the rubrics that come with the program, in a checkout and in a wheel alike."""

# Any character is in some piece: besides space and tab there are no-break, thin and ideographic spaces, and carriage returns.
_PIECE = re.compile(r"\n|[^\S\n]*(?:\w+|[^\w\s]+)|[^\S\n]+")


class Part(BaseModel):
    """Base of the tables in a rubric or a graded set: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


PartT = TypeVar("PartT", bound=Part)


class Level(Part):
    """One grade and what it means."""

    grade: int
    text: str = Field(min_length=1)


class Case(Part):
    """A text with one token between `<<` and `>>`, and its right grade."""

    marked: str
    grade: int

    @field_validator("marked")
    @classmethod
    def _one_mark(cls, marked: str) -> str:
        if marked_window(marked) is None:
            raise ValueError("mark exactly one token, like <<this>>")
        return marked

    @property
    def window(self) -> MarkedText:
        """The text as a judge is shown it."""
        window = marked_window(self.marked)
        assert window is not None
        return window


class Example(Case):
    """A worked example, shown to scoring judges."""

    explanation: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class Calibration(Part):
    """Graded cases of one explanation. Judges that are not LLMs are fitted to them; no LLM sees them."""

    explanation: str = Field(min_length=1)
    cases: tuple[Case, ...] = Field(min_length=1, strict=False)


class Rubric(Part):
    """A scale, how to apply it, and cases graded by it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(min_length=1)
    """Raise it with every change that can alter a grade."""
    source: str = Field(min_length=1)
    """Where the levels come from."""
    score_instructions: str = Field(min_length=1)
    """Instructions to a scoring judge, before levels and examples."""
    explain_instructions: str = Field(min_length=1)
    """Instructions to an explainer."""
    levels: tuple[Level, ...] = Field(min_length=2, strict=False)
    """Ascending grades 0, 1, 2, ..."""
    examples: tuple[Example, ...] = Field((), strict=False)
    """Worked examples for the scoring judge's prompt."""
    calibration: tuple[Calibration, ...] = Field((), strict=False)
    """Graded cases for judges that are not LLMs."""

    @model_validator(mode="after")
    def _grades_fit(self) -> Rubric:
        grades = [level.grade for level in self.levels]
        if grades != list(range(len(grades))):
            raise ValueError(f"levels have grades {grades}: number them 0, 1, 2, ... in order, without gaps")
        cases: list[Case] = [*self.examples, *(case for group in self.calibration for case in group.cases)]
        for case in cases:
            if case.grade not in grades:
                raise ValueError(f"grade {case.grade} of {case.marked[:40]!r} is not a level: use 0 to {grades[-1]}")
        return self

    @property
    def grades(self) -> tuple[int, ...]:
        """The grades in ascending order."""
        return tuple(level.grade for level in self.levels)

    @cached_property
    def hash(self) -> str:
        """sha-256 in hex over everything in the rubric."""
        return content_hash(self.model_dump(mode="json"))


def available() -> tuple[str, ...]:
    """Names of the rubrics that come with the program, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name_or_path: str | Path) -> Rubric:
    """Load a rubric by name or from a file. Raises `UsageError` on one line."""
    return load_toml(Rubric, "rubric", _locate(str(name_or_path)))


def load_toml(model: type[PartT], kind: str, path: Path) -> PartT:
    """Read and validate a TOML file. `kind` names it in errors. Raises `UsageError` on one line, for the first thing that is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{kind} {path} cannot be read: {' '.join(str(error).split())}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{kind} {path} is not valid TOML: {' '.join(str(error).split())}") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{kind} {path}: {first_error(error)}") from None


def marked_window(marked: str, opening: str = "<<", closing: str = ">>") -> MarkedText | None:
    """The text around its marked token, in pieces about the size of tokens; None unless exactly one token is marked."""
    match = re.search(f"{opening}(.+?){closing}", marked, re.DOTALL)
    if match is None or marked.count(opening) != 1 or marked.count(closing) != 1:
        return None
    before, after = _PIECE.findall(marked[: match.start()]), _PIECE.findall(marked[match.end() :])
    return MarkedText((*before, match[1], *after), len(before))


def _locate(name: str) -> Path:
    if name in available():
        return FOLDER / f"{name}.toml"
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise UsageError(f"rubric {name!r} is unknown: use one of {', '.join(available())}, or the path of a rubric file")


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong with a file's data, in one line."""
    first: Any = error.errors(include_url=False)[0]
    location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return f"{location} is missing: add it"
    if first["type"] == "extra_forbidden":
        return f"unknown key {location}: remove it"
    message = first["msg"].removeprefix("Value error, ")
    if not location:
        return str(message)
    value = repr(first["input"])
    return f"{location} = {value if len(value) <= 60 else value[:59] + '…'} is wrong: {message[0].lower()}{message[1:]}"
