"""Finished runs that can be labelled, made without a harvest: a synthetic results folder, and a ledger with the same judgements."""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import uvicorn
from support.results import summaries

from autointerp.labelling.local_server import settings
from autointerp.labelling.sheet import Sheet, open_sheet
from autointerp.labelling.web_page import Pages
from autointerp.ledger import labels, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import explanations, judgements

RUN = "demo-4f1c09ab"
TOKEN = "token-of-the-test"
THEN = f"autointerp report {RUN}"


def make(results: Path, *, url: str | None = None, planted: int = 0, **options: Any) -> Ledger:
    """Write a finished run named `RUN` into `results`, and return its open ledger. `planted` of its features become planted units.

    The run is drawn once per process and copied for every test. A ledger at `url` is filled each time.
    """
    template = _template(planted, tuple(sorted(options.items())))
    shutil.copytree(template, results, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ledger*") if url else None)
    ledger = Ledger.in_folder(results, url)
    if url:
        _fill(ledger, results / RUN)
    return ledger


@cache
def _template(planted: int, options: tuple[tuple[str, Any], ...]) -> Path:
    results = Path(tempfile.mkdtemp(prefix="autointerp-labels-"))
    atexit.register(shutil.rmtree, results, ignore_errors=True)
    defaults: dict[str, Any] = {"n_features": 5, "n_neurons": 5, "per_bin": 3, "unscored_rate": 0.0}
    summaries.make(results / RUN, **(defaults | dict(options)))
    units = pd.read_parquet(results / RUN / "units.parquet")
    units.loc[units.index[:planted], "kind"] = "planted"
    units.to_parquet(results / RUN / "units.parquet")
    ledger = Ledger.in_folder(results)
    _fill(ledger, results / RUN)
    ledger.close()
    return results


def _fill(ledger: Ledger, folder: Path) -> None:
    """Write the run's explanations and judgements into the ledger."""
    units = pd.read_parquet(folder / "units.parquet")
    explained = units.loc[units["explanation"].notna(), ["unit_id", "explanation"]].itertuples(index=False)
    rows = [{"unit_id": u, "outcome": "scored", "text": text, "reason": "", "call_key": None} for u, text in explained]
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="demo", spec_hash="", spec="")
        runs.set_state(tx, RUN, "done")
        tx.execute(sa.insert(explanations), [{"run_id": RUN, **row} for row in rows])
        tx.execute(sa.insert(judgements), _judgements(folder))


def _judgements(folder: Path) -> list[dict[str, Any]]:
    table = pd.read_parquet(folder / "judgements.parquet").drop(columns=["kind", "bin", "judge"]).astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{"run_id": RUN, "job_key": f"job-{place}", **row} for place, row in enumerate(rows)]  # type: ignore[dict-item]


def sheet(ledger: Ledger, results: Path, rater: str = "anna", n: int | None = None) -> Sheet:
    return open_sheet(ledger, results, RUN, rater, n)


def scores(ledger: Ledger, rater: str = "anna") -> dict[int, int | None]:
    """A rater's scores in the ledger, by item number."""
    with ledger.read() as tx:
        return {row["number"]: row["score"] for row in labels.of_run(tx, RUN) if row["rater"] == rater}


@contextmanager
def served(sheet: Sheet, port: int = 0, token: str = TOKEN) -> Iterator[str]:
    """The sheet's address, while a server thread serves it."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(64)
    server = uvicorn.Server(settings(Pages(sheet, token, THEN).app()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
