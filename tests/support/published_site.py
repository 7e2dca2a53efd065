"""A published folder, and Python's own web server over it: neither byte ranges, nor other headers, nor other names for files."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from typing import Any

from support import explorer_index
from support.results import labels as labelled
from support.results.labels import RUN

from autointerp.explorer.comparison.compute import compare
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.judgements import Judgements
from autointerp.explorer.publishing.publication import named, publish
from autointerp.explorer.web.library import INDEX
from autointerp.ledger.database import Ledger
from autointerp.progress import Progress, quiet

OTHER = "other-0a1b2c3d"
LINK = '<a href="units.parquet">units.parquet</a> <a href="spec.toml">spec.toml</a>'


def make_results(root: Path, *, runs: Sequence[str] = (RUN,), **options: Any) -> Path:
    """A results folder with finished runs, a report that names this machine's folders, and an index of each run."""
    labelled.make(root).close()
    (root / RUN / "report.html").write_text(
        f"<!doctype html><title>a report</title><link rel=icon href=data:,><p>{root}/{RUN} {Path.home()}/models/tiny</p>{LINK}"
    )
    for number, run in enumerate(runs):
        if run != RUN:
            shutil.copytree(root / RUN, root / run, ignore=shutil.ignore_patterns(INDEX))
        explorer_index.make(root / run / INDEX, **({"run": run, "seed": number} | options))
    for one, other in combinations(runs, 2):  # here, because a process of its own takes seconds to start
        compare(*(Side(IndexFolder(root / run / INDEX)) for run in (one, other)), quiet)
    return root


def publish_to(
    to: Path, results: Path, runs: Sequence[str] = (RUN,), *, says: bool = False, notes_in: Ledger | None = None,
    ledger: Ledger | None = None, calls: bool = False,
) -> PublishedFolder:  # fmt: skip
    """Publish runs; with `calls` also their judgements, as far as the `ledger` or their files have them."""
    folder = PublishedFolder(to)
    publish(
        named([results / run / INDEX for run in runs], results),
        results,
        folder,
        "1.2.3",
        Progress(quiet=not says),
        notes_in=notes_in,
        judgements=Judgements(results, ledger) if calls else None,
        ledger=ledger,
    )
    folder.finish()
    return folder


def read(path: Path) -> Any:
    """The JSON of a published file."""
    return json.loads(gzip.decompress(path.read_bytes()))


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a folder, without a slash at its end, while `python -m http.server`'s handler serves it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
