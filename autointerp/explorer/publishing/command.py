"""What `autointerp publish` does and says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import EXAMPLES, LABELS, IndexFolder
from autointerp.explorer.items.listing import Listing
from autointerp.explorer.publishing import hub, neuronpedia, notes, overviews, tables
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.judgements import Judgements
from autointerp.explorer.publishing.publication import Table, publish
from autointerp.explorer.publishing.published import Published
from autointerp.explorer.search.reader import Reader
from autointerp.ledger.database import Ledger
from autointerp.progress import Progress

_MB, _GB = 10**6, 10**9
LARGEST_FILE, LARGEST_SITE = 100 * _MB, _GB
"""What GitHub takes of a file and publishes of a site: https://docs.github.com/en/pages/getting-started-with-github-pages/github-pages-limits."""

_TABLES = {"csv", "neuronpedia"}


def announce(
    indexes: Sequence[Published], say: Callable[[str], None], notes_in: Ledger | None, judgements: Judgements | None
) -> None:  # fmt: skip
    """Say what everyone will see to whom the folder is given, with notes and judgements if they are published."""
    for each in indexes:
        folder = IndexFolder(each.index)
        about, examples = folder.about, pq.read_metadata(folder.path / EXAMPLES).num_rows
        neurons = f" and {about.n_neurons:,} neurons" if about.n_neurons else ""
        say(
            f"{about.name}: {about.n_features:,} features{neurons}, {examples:,} excerpts of the corpus,"
            f" {len(folder.table(LABELS, ['row'])):,} explanations"
            + (", and the run's report and tables" if each.run else "")
        )
        if judgements is not None and each.run is not None:
            say(f"{about.name}: {_judged(judgements.of(each.run))}")
        if notes_in is not None:
            n_notes, n_lists = notes.counts(notes_in, folder)
            say(f"{about.name}: {n_notes:,} of your notes and {n_lists:,} of your lists")
    left_out = [
        "the ledger",
        *([] if judgements else ["prompts and replies of the judge"]),
        *([] if notes_in else ["notes"]),
        "specs",
    ]
    say(f"not published: {', '.join(left_out)}, and folders and servers that are named in them")


def _judged(listing: Listing | None) -> str:
    if listing is None:
        return overviews.NONE
    items, calls = len(listing.frames.items), len(listing.frames.calls)
    of_calls = f", and {calls:,} calls" if calls else ""
    return f"{items:,} judgements with the prompts and replies of the judge{of_calls}: --no-calls leaves them out"


def ledger_of(ledger: Ledger | None, results: Path) -> Ledger:
    """The ledger that has the notes. Raises `UsageError` if there is none."""
    if ledger is None:
        raise UsageError(f"--notes has no meaning without a ledger, and {results} has none: leave it out")
    return ledger


def tables_of(*, csv: bool, for_neuronpedia: bool, name: str | None, n_indexes: int) -> list[Table]:
    """The tables that are asked for. Raises `UsageError` for a name that does not fit."""
    if name is not None and not for_neuronpedia:
        raise UsageError("--name has no meaning without --neuronpedia: remove it")
    if name is not None and n_indexes > 1:
        raise UsageError(
            f"--name {name} cannot name {n_indexes} dictionaries: publish them one by one, or leave it out"
        )

    def write_neuronpedia(folder: PublishedFolder, at: str, reader: Reader) -> None:
        neuronpedia.write(folder, at, reader, neuronpedia.source_of(reader, name))

    asked: list[Table] = [tables.write] if csv else []
    return [*asked, write_neuronpedia] if for_neuronpedia else asked


def write(
    indexes: Sequence[Published], results: Path, to: Path, progress: Progress, asked: Sequence[Table] = (),
    *, notes_in: Ledger | None, judgements: Judgements | None, ledger: Ledger | None,
) -> PublishedFolder:  # fmt: skip
    """Publish into a folder that is not finished yet. Raises `UsageError` for a folder with other files, and `PlaceFailed`."""
    folder = PublishedFolder(to)
    publish(
        indexes, results, folder, version("autointerp-eval"), progress, asked,
        notes_in=notes_in, judgements=judgements, ledger=ledger,
    )  # fmt: skip
    return folder


def sizes(folder: PublishedFolder, n_units: int) -> list[str]:
    """The size of a publication, and the limits of hosts that it exceeds."""
    by_file = folder.sizes
    total, extra = sum(by_file.values()), sum(size for name, size in by_file.items() if _TABLES & set(name.split("/")))
    lines = [
        f"{_size(total)} in {len(by_file):,} files, of which {folder.n_changed:,} changed",
        f"{_size(total - extra)} are pages, {_size((total - extra) / max(1, n_units))} a unit",
    ]
    large = [name for name, size in by_file.items() if size > LARGEST_FILE]
    if large:
        lines.append(f"GitHub takes no file of more than {_size(LARGEST_FILE)}: {', '.join(large)}")
    if total > LARGEST_SITE:
        lines.append(f"GitHub Pages publishes at most {_size(LARGEST_SITE)}: use a bucket, or a Space of the hub")
    return lines


def _size(size: float) -> str:
    for name, unit in (("GB", _GB), ("MB", _MB), ("kB", 1000)):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


def check_hub(space: str | None, dataset: str | None, *, public: bool) -> None:
    """Raise `UsageError` for names on the hub that are wrong, before anything is written."""
    hub.check_name("--hub", space)
    hub.check_name("--hub-data", dataset)
    if public and space is None and dataset is None:
        raise UsageError("--public has no meaning without --hub or --hub-data, because nothing is uploaded: remove it")


def push(
    folder: PublishedFolder,
    indexes: Sequence[Published],
    results: Path,
    *,
    hub_space: str | None,
    hub_data: str | None,
    public: bool,
) -> Iterator[str]:
    """Upload what is asked for. Yields the addresses. Raises `UsageError` if the hub refuses it or cannot be reached."""
    if hub_space is not None:
        yield hub.push_space(hub_space, folder.path, folder.sizes, indexes, results, public=public)
    if hub_data is not None:
        yield hub.push_dataset(hub_data, indexes[0], results, public=public)
