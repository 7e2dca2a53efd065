"""Publishes the indexes of runs: which, from where, and to which files."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT, LABELS, IndexFolder
from autointerp.explorer.overview.one_run import RunStates
from autointerp.explorer.publishing import answers, columns, notes, overviews, pages, run_files, units
from autointerp.explorer.publishing import judgements as judging
from autointerp.explorer.publishing.comparisons import PublishedComparisons
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.judgements import Judgements
from autointerp.explorer.publishing.packing import packed_json
from autointerp.explorer.publishing.private import Private
from autointerp.explorer.publishing.published import Published, PublishedLibrary
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import INDEX
from autointerp.explorer.web.site import Snapshot
from autointerp.ledger.database import Ledger
from autointerp.progress import Progress

Table = Callable[[PublishedFolder, str, Reader], None]
"""Writes an index in another format into a folder, below a name in it."""


def publish(
    indexes: Sequence[Published], results: Path, folder: PublishedFolder, version: str, progress: Progress, tables: Sequence[Table] = (),
    *, notes_in: Ledger | None = None, judgements: Judgements | None = None, ledger: Ledger | None = None,
) -> None:  # fmt: skip
    """Write the pages of indexes, the first of which is the main one, what they show, comparisons between them, and `tables` of
    each; the state of runs as far as the `ledger` knows it, their `judgements` if they are given, and the notes and lists in `notes_in`."""
    library = PublishedLibrary(results, indexes)
    data_app = application(library, Access(read_only=True))
    comparisons = PublishedComparisons(data_app, library, indexes)
    comparisons.compute(progress)
    step = _counted(progress, "units", n_units(indexes))
    states, judged = RunStates(results, lambda: ledger), []
    for each in indexes:
        reader = library.of(each)
        about = columns.write(folder, f"{each.at}data/", reader)
        units.write(folder, f"{each.at}data/", reader, step, comparisons.elsewhere(each))
        folder.put(
            f"{each.at}data/about.json.gz",
            packed_json(
                {
                    "n": len(reader.columns),
                    "features": reader.about.n_features,
                    "parts": {name: parts.described for name, parts in units.PARTS.items()},
                    **about,
                }
            ),
        )
        for table in tables:
            table(folder, each.at, reader)
        if each.run is not None:
            files = run_files.write(folder, results / each.run, library.private)
            unpublished = _judgements(folder, each.run, judgements, library.private, progress)
            judged += [] if unpublished else [each.run]
            overviews.write(folder, each.run, states, library.private, files, unpublished)
        comparisons.write(folder, each)
        if notes_in is not None:
            notes.write(folder, f"{each.at}data/", notes_in, reader.folder, library.private)
        pages.write_data(folder, data_app, each.live, each.at)
    pages.write_runs(folder, _runs(indexes, results, answers.data(data_app, "/api/runs")["runs"]))
    runs = tuple(each.run for each in indexes if each.run is not None)
    snapshot = Snapshot(
        version, _date(indexes), folder.stamp, notes_in is not None, judgements is not None, indexes[0].run, runs, tuple(judged)
    )  # fmt: skip
    app = application(library, Access(read_only=True), KnownLedger(results, notes_in, fixed=True), snapshot=snapshot)
    for each in indexes:
        pages.write_pages(folder, app, each.live, each.at)
        if notes_in is not None:
            pages.write_lists(folder, app, each.live, each.at, library.private)
    for run in runs:
        pages.write_run(folder, app, run, with_judgements=run in judged)
    pages.write_shared(folder, app)


def _judgements(
    folder: PublishedFolder, run: str, judgements: Judgements | None, private: Private, progress: Progress
) -> str:  # fmt: skip
    """Write the judgements of a run. Returns why there are none to publish, or an empty text."""
    if judgements is None:
        return overviews.LEFT_OUT
    listing = judgements.of(run)
    if listing is None:
        return overviews.NONE
    step = _counted(progress, f"judgements of {run}", judging.count(listing))
    judging.write(folder, run, listing, judgements.opened(run), private, step)
    return ""


def n_units(indexes: Sequence[Published]) -> int:
    """The units of all indexes."""
    return sum(about.n_features + about.n_neurons for about in (IndexFolder(each.index).about for each in indexes))


def _counted(progress: Progress, name: str, total: int) -> Callable[[int], None]:
    """Shows how many of `total` are written."""
    done = 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        if done == total or progress.wants_update():
            progress.update(name, done, total)

    return step


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
