"""Publishes the indexes of runs: which, from where, and to which files."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT, LABELS, IndexFolder
from autointerp.explorer.publishing import answers, columns, pages, run_files, units
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json
from autointerp.explorer.publishing.private import Private
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import INDEX, Library
from autointerp.explorer.web.site import Snapshot


@dataclass(frozen=True)
class Published:
    """An index that is published: `run` is None for one that no run has."""

    index: Path
    run: str | None
    is_main: bool

    @property
    def live(self) -> str:
        """The address below which the explorer has its pages."""
        return "/" if self.is_main else f"/runs/{self.run}/"

    @property
    def at(self) -> str:
        """The folder of its pages in the published one."""
        return "" if self.is_main else f"runs/{self.run}/"


Table = Callable[[PublishedFolder, str, Reader], None]
"""Writes an index in another format into a folder, below a name in it."""


def publish(
    indexes: Sequence[Published], results: Path, folder: PublishedFolder, version: str, step: Callable[[int], None],
    tables: Sequence[Table] = (),
) -> None:  # fmt: skip
    """Write the pages of indexes, the first of which is the main one, what they show, and `tables` of each. `step` is told of the units that
    are written."""
    library = PublishedLibrary(results, indexes)
    for each in indexes:
        reader = library.reader(None if each.is_main else each.run)
        about = columns.write(folder, f"{each.at}data/", reader)
        units.write(folder, f"{each.at}data/", reader, step)
        folder.put(
            f"{each.at}data/about.json.gz",
            packed_json({"n": len(reader.columns), "features": reader.about.n_features, "parts": units.PARTS, **about}),
        )
        for table in tables:
            table(folder, each.at, reader)
        if each.run is not None:
            run_files.write(folder, results / each.run, library.private)
    data_app = application(library, Access(read_only=True))
    for each in indexes:
        pages.write_data(folder, data_app, each.live, each.at)
    pages.write_runs(folder, _runs(indexes, results, answers.data(data_app, "/api/runs")["runs"]))
    app = application(library, Access(read_only=True), snapshot=Snapshot(version, _date(indexes), folder.stamp))
    for each in indexes:
        pages.write_pages(folder, app, each.live, each.at)
    pages.write_shared(folder, app)


class PublishedLibrary(Library):
    """The published indexes, without the paths of this machine."""

    def __init__(self, results: Path, indexes: Sequence[Published]) -> None:
        super().__init__(results, indexes[0].index)
        specs = {each.run: run_files.spec_of(results / each.run) for each in indexes if each.run}
        self.private = Private(specs, results, *(each.index for each in indexes))

    def reader(self, run: str | None) -> Reader:
        """An open index, whose description has no path of this machine."""
        reader = super().reader(run)
        about = reader.about.model_dump_json()
        reader.about = type(reader.about).model_validate_json(self.private.without(about))
        return reader


def _runs(indexes: Sequence[Published], results: Path, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The published runs in the order in which they are named, as the list of runs shows them."""
    rows = {row["run_id"]: row for row in known}
    shown = []
    for each in indexes:
        if each.run is not None and each.run in rows:
            names = run_files.names_of(results / each.run)
            shown.append({**rows[each.run], **names, "index": True, "address": f"./{each.at}index.html"})
    return shown


def _date(indexes: Sequence[Published]) -> str:
    """The day on which an index or its labels were last written, so that the same files give the same pages."""
    files = [each.index / name for each in indexes for name in (ABOUT, LABELS)]
    last = max(path.stat().st_mtime for path in files if path.is_file())
    return datetime.datetime.fromtimestamp(last, datetime.UTC).date().isoformat()


def named(indexes: Sequence[Path], results: Path) -> list[Published]:
    """The indexes in these folders, the first as the main one. Raises `UsageError` if one is named twice, or if one after the first is not
    of a run."""
    found: list[Published] = []
    for path in indexes:
        run = IndexFolder(path).about.run
        is_own = run is not None and (results / run / INDEX).resolve() == path.resolve()
        each = Published(path, run if is_own else None, is_main=not found)
        if found and not is_own:
            raise UsageError(f"{path} is not the index of a run in {results}: only the first one may be another")
        if path.resolve() in {other.index.resolve() for other in found}:
            raise UsageError(f"{run or path} is named twice: name each run once")
        found.append(each)
    return found
