"""Runs that are over and can be labelled, without a harvest: a synthetic results folder, and a ledger that holds the same judgements."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import uvicorn
from support.results import summaries as report_data

from autointerp.labelling.sheet import Sheet, open_sheet
from autointerp.labelling.web_page import Pages, settings
from autointerp.ledger import labels, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import explanations, judgements

RUN = "demo-4f1c09ab"
TOKEN = "token-of-the-test"
THEN = f"autointerp report {RUN}"


def make(results: Path, *, url: str | None = None, planted: int = 0, **options: Any) -> Ledger:
    """A run under `RUN` in `results`, and its open ledger. `planted` of its features become planted units."""
    given: dict[str, Any] = {"n_features": 5, "n_neurons": 5, "per_bin": 3, "unscored_rate": 0.0}
    report_data.make(results / RUN, **(given | options))
    folder = results / RUN
    units = pd.read_parquet(folder / "units.parquet")
    units.loc[units.index[:planted], "kind"] = "planted"
    units.to_parquet(folder / "units.parquet")
    ledger = Ledger.in_folder(results, url)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="demo", spec_hash="", spec="")
        runs.set_state(tx, RUN, "done")
        said = units.loc[units["explanation"].notna(), ["unit_id", "explanation"]].itertuples(index=False)
        rows = [{"unit_id": u, "outcome": "scored", "text": text, "reason": "", "call_key": None} for u, text in said]
        tx.execute(sa.insert(explanations), [{"run_id": RUN, **row} for row in rows])
        tx.execute(sa.insert(judgements), _judgements(folder))
    return ledger


def _judgements(folder: Path) -> list[dict[str, Any]]:
    table = pd.read_parquet(folder / "judgements.parquet").drop(columns=["kind", "bin", "judge"]).astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{"run_id": RUN, "job_key": f"job-{place}", **row} for place, row in enumerate(rows)]  # type: ignore[dict-item]


def sheet(ledger: Ledger, results: Path, rater: str = "anna", n: int | None = None) -> Sheet:
    return open_sheet(ledger, results, RUN, rater, n)


def scores(ledger: Ledger, rater: str = "anna") -> dict[int, int | None]:
    """What the ledger holds of a rater, by number."""
    with ledger.read() as tx:
        return {row["number"]: row["score"] for row in labels.of_run(tx, RUN) if row["rater"] == rater}


@contextmanager
def served(sheet: Sheet, port: int = 0, token: str = TOKEN) -> Iterator[str]:
    """The sheet's address while a server in a thread of its own serves it."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(64)
    server = uvicorn.Server(settings(Pages(sheet, token, THEN)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
