"""Lists of concepts as data: their names, and the templates of the prompts in which they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from autointerp.errors import UsageError
from autointerp.spec.rubric import Part, load_toml

FOLDER = Path(__file__).resolve().parent / "lists"
PLACE = "{}"


class _File(Part):
    """A file of concepts."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    noun: str = Field(min_length=1)
    """What each of them is, in the singular, such as `chemical element`."""
    templates: tuple[str, ...] = Field(min_length=1, strict=False)
    concepts: tuple[str, ...] = Field(min_length=2, strict=False)
    ambiguous: tuple[str, ...] = Field((), strict=False)
    """Concepts whose name has another common meaning, so that their counts in a text are too high."""

    @field_validator("templates")
    @classmethod
    def _end_in_the_concept(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if (
                template.count(PLACE) != 1
                or not template.endswith(f" {PLACE}")
                or not template.removesuffix(PLACE).strip()
            ):
                raise ValueError(f"{template!r} has to end in a space and {PLACE}, after some words")
        return templates

    @field_validator("concepts")
    @classmethod
    def _are_distinct(cls, concepts: tuple[str, ...]) -> tuple[str, ...]:
        for concept in concepts:
            if not concept or concept != concept.strip():
                raise ValueError(f"{concept!r} is empty or has spaces around it")
            if concepts.count(concept) > 1:
                raise ValueError(f"{concept!r} is there twice")
        return concepts

    @model_validator(mode="after")
    def _ambiguous_are_concepts(self) -> _File:
        if unknown := [name for name in self.ambiguous if name not in self.concepts]:
            raise ValueError(f"ambiguous has {unknown[0]!r}, which is none of the concepts")
        return self


@dataclass(frozen=True)
class ConceptList:
    """A family of concepts."""

    name: str
    noun: str
    templates: tuple[str, ...]
    concepts: tuple[str, ...]
    ambiguous: tuple[str, ...] = ()

    @property
    def prompts(self) -> list[str]:
        """The prompts of all concepts, template by template within each."""
        return [template.replace(PLACE, concept) for concept in self.concepts for template in self.templates]


def available() -> tuple[str, ...]:
    """Names of the lists that come with the program, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def shipped(name: str) -> ConceptList:
    """A list that comes with the program. Raises `UsageError` for another name."""
    if name not in available():
        raise UsageError(f"concept list {name!r} is unknown: use one of {', '.join(available())}, or --concepts FILE")
    return load(FOLDER / f"{name}.toml")


def load(path: Path) -> ConceptList:
    """The list in a file. Raises `UsageError` on one line."""
    return ConceptList(**load_toml(_File, "concept list", path).model_dump())
