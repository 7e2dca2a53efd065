"""Lists of probe texts with controls, and of parallel texts, from TOML."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from autointerp.errors import UsageError
from autointerp.spec.toml_files import wrong_key

_PACKAGE = "autointerp.studies.categories"
LEAST = 5
"""Texts of each side of a category, at least."""


class Category(BaseModel):
    """Probe texts of a category, and controls, each matched with the probe at the same place."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    group: str = "yours"
    probes: tuple[str, ...]
    controls: tuple[str, ...]

    @model_validator(mode="after")
    def _enough(self) -> Category:
        if min(len(self.probes), len(self.controls)) < LEAST:
            raise ValueError(f"category {self.name!r} needs {LEAST} probes and {LEAST} controls or more")
        return self


class Probes(BaseModel):
    """A file of categories."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = 1
    category: tuple[Category, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Probes:
        names = [category.name for category in self.category]
        if len(set(names)) < len(names):
            raise ValueError("two categories have the same name: rename one")
        return self

    def named(self, names: tuple[str, ...]) -> tuple[Category, ...]:
        """The categories with these names, or all. Raises `UsageError` for an unknown name."""
        known = {category.name: category for category in self.category}
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"there is no category {unknown[0]!r}: choose from {', '.join(known)}")
        return tuple(known[name] for name in names) if names else self.category


class ParallelSet(BaseModel):
    """Versions of the same texts; those at the same place say the same. The first version is the one others are compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    versions: dict[str, tuple[str, ...]]


class Parallel(BaseModel):
    """The file of parallel texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int
    set: tuple[ParallelSet, ...]


def probe_lists(path: Path | None = None) -> Probes:
    """The categories of a file, or those of the package. Raises `UsageError`."""
    if path is None:
        return Probes.model_validate(_packaged("probes.toml"))
    try:
        with path.open("rb") as stream:
            data = tomllib.load(stream)
        return Probes.model_validate(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(wrong_key(error, Probes, str(path))) from None


def parallel_lists() -> Parallel:
    """The parallel texts of the package."""
    return Parallel.model_validate(_packaged("parallel.toml"))


def _packaged(name: str) -> dict[str, Any]:
    return tomllib.loads(files(_PACKAGE).joinpath(name).read_text(encoding="utf-8"))
