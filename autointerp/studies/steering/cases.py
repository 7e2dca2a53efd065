"""Case files: a regression suite of a model's behaviours, each a prompt, units with factors, and the change that they should bring."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from autointerp.spec.rubric import Part, load_toml


class Expectation(Part):
    """The expected change of the continuation: words, a pattern, or a description for a judge. Exactly one is given."""

    words: tuple[str, ...] = Field((), strict=False)
    """At least one of these stands in the text as a whole word, in upper or lower case."""
    pattern: str = ""
    """A regular expression that matches somewhere in the text."""
    judged: str = ""
    """What the text should express; a judge grades it."""
    gone: bool = False
    """Whether the change is that the text no longer has this: the control has it, and the steered continuation has not."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _one(self) -> Expectation:
        if sum(map(bool, (self.words, self.pattern, self.judged))) != 1:
            raise ValueError("give exactly one of words, pattern and judged in expect")
        return self

    def holds(self, text: str) -> bool:
        """Whether the text has one of the words, or matches the pattern."""
        if self.pattern:
            return re.search(self.pattern, text) is not None
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in self.words)

    @property
    def statement(self) -> str:
        """The expectation in words."""
        what = self.judged or (f"/{self.pattern}/" if self.pattern else " or ".join(map(repr, self.words)))
        return f"no longer {what}" if self.gone else what


class SteeringCase(Part):
    """A behaviour to check."""

    name: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    units: tuple[str, ...] = Field(min_length=1, strict=False)
    """Units as on the command line, `[NAME:]UNIT[=FACTOR][@POSITIONS]`; a factor counts in maxima."""
    expect: Expectation
    control: Literal["random", "plain"] = "random"
    """Beside the steered continuation: a random direction of the same norm, or the prompt without any change."""
    chat: bool = False
    added: bool = False
    """Whether activations are raised by the values instead of set to them."""
    tokens: int = Field(32, ge=1, le=2048)
    seed: int | None = Field(None, ge=0)
    """Seed of the continuations; without one, the most likely token is taken."""
    note: str = ""
    """Remark for readers."""


class CaseFile(Part):
    """The cases of a file."""

    cases: tuple[SteeringCase, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _names_differ(self) -> CaseFile:
        names = [case.name for case in self.cases]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two cases are named {twice[0]!r}: give each a name of its own")
        return self


def load_cases(path: Path) -> CaseFile:
    """The cases in a TOML file. Raises `UsageError` on one line."""
    return load_toml(CaseFile, "case file", path)
