"""Commands of the service: runs are queued for workers and followed through the ledger, so Redis may be down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click

from autointerp.cli.common import (
    QUIET,
    RESULTS,
    SET,
    command_ledger,
    complain,
    one_line_errors,
    run_argument,
)
from autointerp.costs import bounds
from autointerp.errors import EXPECTED, UsageError, exit_code_of
from autointerp.ledger import Ledger, run_progress
from autointerp.ledger.database import schema_of
from autointerp.monitoring import run_list, run_status, run_watch
from autointerp.pipeline import submit as submission
from autointerp.progress import Progress
from autointerp.spec.spec import load

T = TypeVar("T")
WATCHING = "stopped watching; the runs continue"


@click.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
@SET
@click.option("--dry-run", is_flag=True, help="Print the runs' ids and what they may cost. Queues nothing.")
@RESULTS
@QUIET
@one_line_errors("stopped; the runs printed above are queued, the others are not: run the same command to continue")
def submit(specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Queue the runs that SPECs (TOML files) describe for the workers.

    Prints one line for each spec: the run's id, and whether it is new, resumed, already queued or done. The same spec twice is one
    run. Invalid specs are reported and skipped: the others are submitted, and the exit code is 2.
    """
    ledger = None if dry_run else command_ledger(results, make=True)
    with Progress(quiet=quiet) as progress:
        code = _each(specs, lambda path: _submit(ledger, path, overrides, results, progress), "not submitted")
        if ledger is not None:
            _note_absent_workers(ledger, progress)
    return code


def _submit(ledger: Ledger | None, path: Path, overrides: tuple[str, ...], results: Path, progress: Progress) -> None:
    spec = load(path, overrides)
    costs = list(bounds.describe(spec))
    if ledger is None:
        click.echo("\n".join([submission.run_id_of(spec, progress.tell), *costs]))
        return
    for line in [f"{path}:", *costs] if costs else []:
        progress.note(line)
    submitted = submission.submit(ledger, spec, results, tell=progress.tell)
    click.echo(f"{submitted.run_id}  {submitted.was}")


def _note_absent_workers(ledger: Ledger, progress: Progress) -> None:
    with ledger.read() as tx:
        n = run_progress.lively(tx)
    if not n:
        progress.note("no worker is running: the runs wait in the ledger until one is started")


@click.command()
@run_argument(required=False)
@click.option("--watch", is_flag=True, help="Update until the run ends; the exit code is that of `run`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@RESULTS
@one_line_errors(WATCHING)
def status(run_id: str | None, watch: bool, as_json: bool, results: Path) -> int:
    """Show the progress of RUN: jobs by stage and state, rate and time left, unscored by reason, cost and budget.

    Without RUN: one line for each running or recently ended run. With --watch the command ends when the run does: 0 done, 3 headline
    withheld, 4 stopped by a budget, 5 by the provider, 1 failed, 130 cancelled.
    """
    if watch and as_json:
        raise UsageError("--watch and --json exclude each other: leave one out")
    ledger = command_ledger(results)
    if watch:
        return run_watch.watch_run(ledger, results, run_id) if run_id else run_watch.watch_all(ledger, results)
    if as_json:
        ids = [run_id] if run_id else [row["run_id"] for row, _ in run_list.overview(ledger)]
        facts = [run_status.facts(run_status.look(ledger, each), results) for each in ids]
        click.echo(json.dumps(facts[0] if run_id else facts, indent=1, ensure_ascii=False))
        return 0
    lines = (
        run_status.describe(run_status.facts(run_status.look(ledger, run_id), results))
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
    """Queue RUNs that were stopped, cancelled or failed again. Finished work is kept."""
    ledger = command_ledger(results)

    def one(run_id: str) -> None:
        submission.resume(ledger, run_id, results)
        click.echo(f"{run_id}  resumed")

    return _each(run_ids, one)


@click.command()
@run_argument(nargs=-1)
@RESULTS
@one_line_errors()
def cancel(run_ids: tuple[str, ...], results: Path) -> int:
    """Cancel RUNs: start no new calls. Calls in flight finish, and finished work is kept: `resume` continues from there."""
    ledger = command_ledger(results)

    def one(run_id: str) -> None:
        submission.cancel(ledger, run_id)
        click.echo(f"{run_id}  cancelled")

    return _each(run_ids, one)


@click.command()
@click.option(
    "--failed",
    is_flag=True,
    help="Questions that failed at the provider or a worker; verdicts such as refusals are kept.",
)
@run_argument()
@RESULTS
@one_line_errors()
def retry(run_id: str, failed: bool, results: Path) -> None:
    """Retry failed questions of RUN and what depends on them, then rebuild the report."""
    from autointerp.errors import UsageError

    if not failed:
        raise UsageError(f"choose what to retry: `autointerp retry --failed {run_id}`")
    n_queued = submission.retry(command_ledger(results), run_id, results)
    click.echo(f"{run_id}  {n_queued:,} failed jobs queued" if n_queued else f"{run_id}  nothing failed")


@click.command()
@run_argument(required=False)
@click.option("--follow", is_flag=True, help="Continue until the run ends.")
@RESULTS
@one_line_errors(WATCHING)
def logs(run_id: str | None, follow: bool, results: Path) -> None:
    """Print the events of RUN, in local time; without RUN, the events of the workers."""
    ledger = command_ledger(results)
    if follow:
        run_watch.follow_events(ledger, run_id or "")
        return
    for line in run_list.log_lines(run_list.events_of(ledger, run_id or "")):
        click.echo(line)


@click.command()
@click.option("--all", "everyone", is_flag=True, help="Include workers that have gone.")
@RESULTS
@one_line_errors()
def workers(everyone: bool, results: Path) -> None:
    """List the workers: id, host, process, queues, and the age of the last heartbeat."""
    for line in run_list.list_workers(command_ledger(results), gone=everyone):
        click.echo(line)


@click.command()
@RESULTS
@one_line_errors()
def migrate(results: Path) -> None:
    """Create the ledger, or update it to this version's schema. Every other command does so too; workers may keep running."""
    ledger = command_ledger(results, make=True)
    click.echo(f"ledger {ledger.engine.url}: schema {schema_of(ledger.engine)}")


def _each(items: Iterable[T], work: Callable[[T], None], failure: str = "") -> int:
    """Do the same for every item; an error is printed and does not stop the others. Returns the first error's exit code, or 0."""
    codes = []
    for item in items:
        try:
            work(item)
        except EXPECTED as error:
            complain(f"{item}: {failure}: {error}" if failure else error)
            codes.append(exit_code_of(error))
    return codes[0] if codes else 0
