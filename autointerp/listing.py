"""What `autointerp runs` and `autointerp status` print, read from the ledger alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.ledger import Ledger, calls, jobs, runs, verdicts


def list_runs(results: Path) -> Iterator[str]:
    """A line a run, newest first."""
    ledger = _ledger(results)
    with ledger.read() as tx:
        found = runs.every(tx)
    if not found:
        yield f"no runs in {results}: start one with `autointerp run SPEC` or `autointerp demo`"
        return
    for row in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created_at"]))
        yield f"{row['run_id']:<32} {row['state']:<9} {when}  {_outcome(results, row)}"


def describe_run(results: Path, run_id: str) -> Iterator[str]:
    """How far a run is: jobs by stage and state, unscored by reason, cost."""
    ledger = _ledger(results)
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
        if row is None:
            raise UsageError(f"no run {run_id} in {results}: `autointerp runs` lists the runs there are")
        counts, totals, unscored = jobs.counts(tx, run_id), calls.totals(tx, run_id), verdicts.unscored(tx, run_id)
    yield f"{run_id}: {row['state']}" + (f" ({row['reason']})" if row["reason"] else "")
    for stage, states in counts.items():
        yield f"  {stage:<8} " + ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))
    if unscored:
        yield "  unscored " + ", ".join(f"{n:,} {reason}" for reason, n in sorted(unscored.items()))
    cost = f"${totals['cost_usd']:.4f}"
    if totals["unpriced_calls"]:
        cost += f" and {totals['unpriced_calls']:,} calls of unknown price"
    yield f"  cost     {cost}; {totals['calls']:,} calls, {totals['failed_attempts']:,} failed attempts"
    if totals["lost_calls"]:
        yield f"  lost     {totals['lost_calls']:,} calls whose reply never came, at most ${row['lost_usd']:.4f}"
    yield f"  report   {results / run_id / 'report.html'}"


def _outcome(results: Path, row: Any) -> str:
    if row["reason"]:
        return str(row["reason"])
    path = results / row["run_id"] / "summary.json"
    if not path.exists():
        return ""
    headline = json.loads(path.read_text(encoding="utf-8"))["headline"]
    if headline.get("withheld") or headline.get("ci_low") is None:
        return ""
    return f"features {headline['difference']:+.2f} [{headline['ci_low']:.2f}, {headline['ci_high']:.2f}]"


def _ledger(results: Path) -> Ledger:
    if not (results / "ledger.sqlite").exists():
        raise UsageError(
            f"{results} holds no ledger: start a run with `autointerp run SPEC`, or name another --results"
        )
    return Ledger.in_folder(results)
