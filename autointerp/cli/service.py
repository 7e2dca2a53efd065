"""Commands of the service: runs are handed to workers and followed through the ledger, so Redis may be down.

Like the others they are thin, and import what is heavy only when they run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autointerp.cli.common import (
    QUIET,
    RESULTS,
    SET,
    complain,
    exit_code,
    is_expected,
    one_line_errors,
    run_argument,
    the_ledger,
)
from autointerp.cli.nightly import nightly

if TYPE_CHECKING:
    from autointerp.ledger import Ledger

LOOKING = "no longer watching; what goes on goes on"


@click.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
@SET
@click.option("--dry-run", is_flag=True, help="Say the runs' ids and what they may cost. Queues nothing.")
@RESULTS
@QUIET
@one_line_errors("stopped; runs that were printed are queued, the others are not: run the same command to go on")
def submit(specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Hand the runs that SPECs (TOML files) describe to the workers.

    Prints a line a spec: the run's id and whether it is new, resumed, queued already, or done. The same spec twice is one run. A
    spec that is wrong is said and passed over: the others are submitted, and the exit code is 2.
    """
    from autointerp.progress import Progress

    ledger = None if dry_run else the_ledger(results, make=True)
    with Progress(quiet=quiet) as progress:
        code = _each(specs, lambda path: _submit(ledger, path, overrides, results, progress), "not submitted")
        if ledger is not None:
            _note_absent_workers(ledger, progress)
    return code


def _submit(ledger: Ledger | None, path: Path, overrides: tuple[str, ...], results: Path, progress: Any) -> None:
    from autointerp.costs import bounds
    from autointerp.pipeline import submit as submit_
    from autointerp.spec.spec import load

    spec = load(path, overrides)
    said = list(bounds.describe(spec))
    if ledger is None:
        click.echo("\n".join([submit_.run_id_of(spec, progress.tell), *said]))
        return
    for line in [f"{path}:", *said] if said else []:
        progress.note(line)
    submitted = submit_.submit(ledger, spec, results, tell=progress.tell)
    click.echo(f"{submitted.run_id}  {submitted.was}")


def _note_absent_workers(ledger: Ledger, progress: Any) -> None:
    from autointerp.ledger import run_progress

    with ledger.read() as tx:
        n = run_progress.lively(tx)
    if not n:
        progress.note("no worker is at work: the runs wait in the ledger until some are started")


@click.command()
@run_argument(required=False)
@click.option("--watch", is_flag=True, help="Go on showing it until the run ends; the exit code is that of `run`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@RESULTS
@one_line_errors(LOOKING)
def status(run_id: str | None, watch: bool, as_json: bool, results: Path) -> int:
    """Say how far RUN is: jobs by stage and state, rate and time left, unscored by reason, cost and budget.

    Without RUN: a line a run that goes on, and a line a run that ended lately. With --watch it ends when the run does: 0 done, 3
    headline withheld, 4 stopped by a budget, 5 by the provider, 1 failed, 130 cancelled.
    """
    from autointerp.errors import UsageError
    from autointerp.monitoring import run_list, run_watch
    from autointerp.monitoring import run_status as status_

    if watch and as_json:
        raise UsageError("--watch and --json exclude each other: leave one out")
    ledger = the_ledger(results)
    if watch:
        return run_watch.watch_run(ledger, results, run_id) if run_id else run_watch.watch_all(ledger, results)
    if as_json:
        ids = [run_id] if run_id else [row["run_id"] for row, _ in run_list.overview(ledger)]
        found = [status_.facts(status_.look(ledger, i), results) for i in ids]
        click.echo(json.dumps(found[0] if run_id else found, indent=1, ensure_ascii=False))
        return 0
    lines = (
        status_.describe(status_.facts(status_.look(ledger, run_id), results))
        if run_id
        else run_list.list_progress(ledger, results)
    )
    for line in lines:
        click.echo(line)
    return 0


@click.command()
@run_argument(nargs=-1)
@RESULTS
@one_line_errors()
def resume(run_ids: tuple[str, ...], results: Path) -> int:
    """Queue RUNs that were stopped, cancelled or failed. What is done stays done."""
    from autointerp.pipeline import submit as submit_

    ledger = the_ledger(results)

    def one(run_id: str) -> None:
        submit_.resume(ledger, run_id, results)
        click.echo(f"{run_id}  resumed")

    return _each(run_ids, one)


@click.command()
@run_argument(nargs=-1)
@RESULTS
@one_line_errors()
def cancel(run_ids: tuple[str, ...], results: Path) -> int:
    """Begin nothing more for RUNs. Calls in flight end, and what is done is kept: `resume` goes on from there."""
    from autointerp.pipeline import submit as submit_

    ledger = the_ledger(results)

    def one(run_id: str) -> None:
        submit_.cancel(ledger, run_id)
        click.echo(f"{run_id}  cancelled")

    return _each(run_ids, one)


@click.command()
@click.option("--failed", is_flag=True, help="What the provider or a worker failed; verdicts such as refusals stay.")
@run_argument()
@RESULTS
@one_line_errors()
def retry(run_id: str, failed: bool, results: Path) -> None:
    """Ask again what failed in RUN, and whatever rests on it, and make its report anew."""
    from autointerp.errors import UsageError
    from autointerp.pipeline import submit as submit_

    if not failed:
        raise UsageError(f"say what to ask again: `autointerp retry --failed {run_id}`")
    n = submit_.retry(the_ledger(results), run_id, results)
    click.echo(f"{run_id}  {n:,} failed jobs are queued" if n else f"{run_id}  nothing failed")


@click.command()
@run_argument(required=False)
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@RESULTS
@one_line_errors(LOOKING)
def logs(run_id: str | None, follow: bool, results: Path) -> None:
    """Print what happened to RUN, in local time; without RUN, what happened to workers."""
    from autointerp.monitoring import run_list, run_watch

    ledger = the_ledger(results)
    if follow:
        run_watch.follow_events(ledger, run_id or "")
        return
    for line in run_list.log_lines(run_list.events_of(ledger, run_id or "")):
        click.echo(line)


@click.command()
@click.option("--all", "everyone", is_flag=True, help="Also those that are gone.")
@RESULTS
@one_line_errors()
def workers(everyone: bool, results: Path) -> None:
    """List the workers: id, host, process, queues, and how long ago each beat last."""
    from autointerp.monitoring.run_list import list_workers

    for line in list_workers(the_ledger(results), gone=everyone):
        click.echo(line)


@click.command()
@RESULTS
@one_line_errors()
def migrate(results: Path) -> None:
    """Make the ledger, or bring it to this version's schema. Every other command does so too; workers may run meanwhile."""
    from autointerp.ledger.database import schema_of

    ledger = the_ledger(results, make=True)
    click.echo(f"ledger {ledger.engine.url}: schema {schema_of(ledger.engine)}")


COMMANDS: tuple[click.Command, ...] = (submit, status, logs, resume, retry, cancel, workers, nightly, migrate)


def _each(given: Iterable[Any], work: Callable[[Any], None], what: str = "") -> int:
    """Do the same for each; errors are said one by one and stop nothing. Returns the exit code of the first, or 0."""
    codes = []
    for one in given:
        try:
            work(one)
        except Exception as error:
            if not is_expected(error):
                raise
            complain(f"{one}: {what}: {error}" if what else error)
            codes.append(exit_code(error))
    return codes[0] if codes else 0
