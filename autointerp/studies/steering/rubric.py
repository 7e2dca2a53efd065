"""The rubric of continuations: two scales, on target and coherence, with instructions to the judge, read from a TOML file."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from autointerp.spec.rubric import FOLDER, Level, Part, load_toml

DEFAULT = FOLDER / "steering" / "continuations.toml"


class SteeringRubric(Part):
    """Two scales, and how to apply them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(min_length=1)
    """Raise it with every change that can alter a grade."""
    source: str = Field(min_length=1)
    instructions: str = Field(min_length=1)
    on_target: tuple[Level, ...] = Field(min_length=2, strict=False)
    coherence: tuple[Level, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _grades_fit(self) -> SteeringRubric:
        for name, levels in (("on_target", self.on_target), ("coherence", self.coherence)):
            grades = [level.grade for level in levels]
            if grades != list(range(len(grades))):
                raise ValueError(f"{name} has grades {grades}: number them 0, 1, 2, ... in order, without gaps")
        return self

    @property
    def top(self) -> int:
        """The highest grade on target."""
        return len(self.on_target) - 1


def load_rubric(path: str | Path = DEFAULT) -> SteeringRubric:
    """The rubric in a file. Raises `UsageError` on one line."""
    return load_toml(SteeringRubric, "steering rubric", Path(path))
