"""Submits runs to the workers, resumes, cancels and retries them. The queue is the ledger, so Redis may be down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection

from autointerp.dictionaries.saelens_names import resolved
from autointerp.errors import UsageError
from autointerp.ledger import calls, events, jobs, judgements, leases, run_progress, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.run_lock import run_lock
from autointerp.pipeline.earlier import as_begun
from autointerp.progress import OnProgress, quiet
from autointerp.questions import planned_jobs
from autointerp.spec import matrix, rubric
from autointerp.spec.matrix import Cell
from autointerp.spec.spec import Spec, from_toml


@dataclass(frozen=True)
class Submitted:
    """A submitted run: new, resumed, already queued, or done."""

    run_id: str
    was: Literal["new", "resumed", "queued", "done"]


class CostBound(NamedTuple):
    """What a run may cost if every unit is alive and every bin full: in lines, and in dollars (None if a price is unknown)."""

    lines: list[str]
    usual_usd: float | None


def read_with_costs(path: Path, overrides: Sequence[str]) -> tuple[list[tuple[Cell, CostBound]], str]:
    """The specs in a file, each with the most that it may cost, and a line on all of a matrix. Raises `UsageError`."""
    from autointerp.costs import bounds  # pandas

    cells = [replace(cell, spec=resolved(cell.spec)) for cell in matrix.read(path, overrides)]
    total = bounds.together([cell.spec for cell in cells]) if len(cells) > 1 else ""

    def bound(spec: Spec) -> CostBound:
        return CostBound(list(bounds.describe(spec)), bounds.usual_usd(bounds.bounds(spec)))

    return [(cell, bound(cell.spec)) for cell in cells], total


def live_workers(ledger: Ledger) -> int:
    """Workers that sent a heartbeat lately."""
    with ledger.read() as tx:
        return run_progress.count_live_workers(tx)


def submit(ledger: Ledger, spec: Spec, results: Path, *, night: str = "", on_progress: OnProgress = quiet) -> Submitted:
    """Queue a run under an id derived from its content, so the same spec twice is one run. Raises `UsageError` and `SaeError`."""
    run_id_of_spec = _run_ids(spec := spec.absolute(), on_progress)
    spec = as_begun(spec, run_id_of_spec, ledger)
    run_id = run_id_of_spec(spec)
    with run_lock(ledger, results, run_id), ledger.write() as tx:
        row = runs.lock_row(tx, run_id)
        if row is not None and row["state"] in ("done", "withheld") and not _lacks_studies(row, spec):
            return Submitted(run_id, "done")
        queued = row is not None and runs.is_with_workers(row)
        runs.register(
            tx,
            run_id=run_id,
            name=spec.name,
            spec_hash=spec.hash(),
            spec=spec.to_toml(),
            state=str(row["state"]) if row and queued else "queued",
            carrier="fleet",
            night="" if queued else night,
        )
        if queued:
            return Submitted(run_id, "queued")
        _reopen(tx, run_id)
        jobs.plan(tx, run_id, [planned_jobs.stage_job("prepare")])
        runs.begin_stage(tx, run_id, "prepare")
        events.add(tx, run_id, "submitted" if row is None else "submitted again")
    return Submitted(run_id, "new" if row is None else "resumed")


def run_id_of(spec: Spec, on_progress: OnProgress = quiet) -> str:
    """The id of a spec's run. Raises `UsageError` and `SaeError`."""
    return _run_ids(spec, on_progress)(spec)


def _run_ids(spec: Spec, on_progress: OnProgress) -> Callable[[Spec], str]:
    """Returns the id of the run of a spec with these inputs, which are read once."""
    from autointerp.pipeline.prepare import checked  # torch

    identified, scale = checked(spec, on_progress), rubric.load(spec.score.rubric)
    return lambda other: replace(identified, spec=other).run_id(scale)


def resume(ledger: Ledger, run_id: str, results: Path) -> None:
    """Queue a stopped, cancelled or failed run again; finished work is kept. Raises `UsageError`."""
    with run_lock(ledger, results, run_id), ledger.write() as tx:
        row = _known(tx, run_id)
        if row["state"] in ("done", "withheld"):
            raise UsageError(
                f"run {run_id} is {row['state']}: `autointerp retry --failed {run_id}` asks its failed questions again"
            )
        if runs.is_with_workers(row):
            raise UsageError(f"run {run_id} is {row['state']}: `autointerp status {run_id}` shows its progress")
        _queue(tx, run_id, "resumed")


def cancel(ledger: Ledger, run_id: str) -> None:
    """Start no new call for a run; calls in flight end, and finished work is kept. Raises `UsageError`."""
    with ledger.write() as tx:
        row = _known(tx, run_id)
        if not runs.is_with_workers(row):
            raise UsageError(
                f"run {run_id} is {row['state']}: only a run that is queued for or executed by workers can be cancelled"
            )
        runs.set_state(tx, run_id, "cancelled", "cancelled by hand")
        events.add(tx, run_id, "cancelled by hand", level="warning")


def retry(ledger: Ledger, run_id: str, results: Path) -> int:
    """Queue a run's failed questions and what depends on them, and return how many there are. Raises `UsageError`.

    Refusals, truncations and unreadable replies are answers, and are kept.
    """
    with run_lock(ledger, results, run_id), ledger.write() as tx:
        row = _known(tx, run_id)
        if runs.is_with_workers(row):
            raise UsageError(
                f"run {run_id} is {row['state']}: wait until it ends, or cancel it with `autointerp cancel {run_id}` first"
            )
        keys = judgements.failed(tx, run_id)
        judgements.withdraw(tx, run_id, keys)
        stages = [job.stage for job, _ in jobs.failed(tx, run_id)]
        if keys or stages:
            # Questions that are planned again cost nothing if their answers are in the ledger.
            jobs.delete(tx, run_id, ["plan"])
            _queue(tx, run_id, f"retrying {len(keys)} failed questions")
    return len(keys) + len(stages)


def _queue(tx: Connection, run_id: str, event: str) -> None:
    row = _known(tx, run_id)
    runs.register(
        tx,
        run_id=run_id,
        name=row["name"],
        spec_hash=row["spec_hash"],
        spec=row["spec"],
        state="queued",
        carrier="fleet",
    )
    _reopen(tx, run_id)
    jobs.plan(tx, run_id, [planned_jobs.stage_job("prepare")])
    events.add(tx, run_id, event)


def _reopen(tx: Connection, run_id: str) -> None:
    """Release the leases of dead workers and give failed jobs another try. The report is always written again."""
    calls.write_off_orphans(tx, run_id)
    leases.release_orphans(tx, run_id)
    jobs.reopen(tx, run_id)
    jobs.delete_plans_before_explanations(tx, run_id)
    jobs.delete(tx, run_id, ["finish", "studies"])
    if not jobs.exists(tx, run_id, ["merge"], ("done",)):
        # Questions that were planned in one process have to wait for the workers' own harvest.
        jobs.delete_unfinished_questions(tx, run_id)


def _lacks_studies(row: Any, spec: Spec) -> bool:
    """Whether a study of the spec failed in a run that is done, or is not one of those that it was carried out with."""
    return bool(spec.studies.chosen) and (bool(row["exit_code"]) or from_toml(row["spec"]).studies != spec.studies)


def _known(tx: Connection, run_id: str) -> Any:
    row = runs.lock_row(tx, run_id)
    if row is None:
        raise runs.no_such_run(run_id)
    return row
