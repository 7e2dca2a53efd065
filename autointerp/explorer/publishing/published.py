"""The indexes that are published, and where each has its pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autointerp.explorer.publishing import run_files
from autointerp.explorer.publishing.private import Private
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import Library


@dataclass(frozen=True)
class Published:
    """An index that is published: `run` is None for one that no run has."""

    index: Path
    run: str | None
    is_main: bool

    @property
    def name(self) -> str:
        """The run, or the folder of an index that no run has."""
        return self.run or self.index.name

    @property
    def live(self) -> str:
        """The address below which the explorer has its pages."""
        return "/" if self.is_main else f"/runs/{self.run}/"

    @property
    def at(self) -> str:
        """The folder of its pages in the published one."""
        return "" if self.is_main else f"runs/{self.run}/"

    def to(self, other: Published) -> str:
        """The address of the pages of another index, relative to those of this one."""
        return "./" if other == self else f"{'./' if self.is_main else '../../'}{other.at}"


class PublishedLibrary(Library):
    """The published indexes, without the paths of this machine."""

    def __init__(self, results: Path, indexes: Sequence[Published]) -> None:
        super().__init__(results, indexes[0].index)
        specs = {each.run: run_files.spec_of(results / each.run) for each in indexes if each.run}
        self.private = Private(specs, results, *(each.index for each in indexes))

    def of(self, published: Published) -> Reader:
        """A published index."""
        return self.reader(None if published.is_main else published.run)

    def reader(self, run: str | None) -> Reader:
        """An open index, whose description has no path of this machine."""
        reader = super().reader(run)
        about = reader.about.model_dump_json()
        reader.about = type(reader.about).model_validate_json(self.private.without(about))
        return reader
