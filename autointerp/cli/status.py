"""`autointerp status`, `runs`, `logs`, `workers` and `migrate`: what the ledger knows. Light, because people call them often."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource

from autointerp.cli.common import RESULTS, command_ledger, one_line_errors, run_argument
from autointerp.cli.lazy_group import LazyCommand, LazyGroup
from autointerp.cli.ledger_location import LedgerLocation
from autointerp.errors import UsageError
from autointerp.ledger.database import schema_of
from autointerp.monitoring import run_list, run_status, run_watch

WATCHING = "stopped watching; the runs continue"


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
    if not run_id and not LedgerLocation(results).exists():
        click.echo(json.dumps([]) if as_json else run_list.no_runs(results))
        return 0
    ledger = command_ledger(results)
    run_id = run_list.known_run(run_id, ledger) if run_id else None
    if watch:
        return run_watch.watch_run(ledger, results, run_id) if run_id else run_watch.watch_all(ledger, results)
    if as_json:
        ids = [run_id] if run_id else [row["run_id"] for row, _ in run_list.overview(ledger)]
        facts = [run_status.status_values(run_status.read_progress(ledger, each), results) for each in ids]
        click.echo(json.dumps(facts[0] if run_id else facts, indent=1, ensure_ascii=False))
        return 0
    lines = (
        run_status.describe(run_status.status_values(run_status.read_progress(ledger, run_id), results))
        if run_id
        else run_list.list_progress(ledger, results)
    )
    for line in lines:
        click.echo(line)
    return 0


@click.command()
@RESULTS
@one_line_errors()
def runs(results: Path) -> None:
    """List the runs in the ledger, newest first: state, start, cost, judge, subject, dictionary and result."""
    known = LedgerLocation(results).exists()
    for line in run_list.list_runs(command_ledger(results), results) if known else [run_list.no_runs(results)]:
        click.echo(line)


@click.command()
@run_argument(required=False)
@click.option("--follow", is_flag=True, help="Continue until the run ends.")
@RESULTS
@one_line_errors(WATCHING)
def logs(run_id: str | None, follow: bool, results: Path) -> None:
    """Print the events of RUN, in local time; without RUN, the events of the workers."""
    if not run_id and not follow and not LedgerLocation(results).exists():
        click.echo(run_list.no_runs(results))
        return
    ledger = command_ledger(results)
    run_id = run_list.known_run(run_id, ledger) if run_id else ""
    if follow:
        run_watch.follow_events(ledger, run_id)
        return
    for line in run_list.log_lines(run_list.events_of(ledger, run_id)):
        click.echo(line)


@click.group(
    "workers",
    cls=LazyGroup,
    sections={
        "Commands": {"start": LazyCommand("autointerp.cli.start_workers", "start", "Start this host's workers.")}
    },
    invoke_without_command=True,
)
@click.option("--all", "everyone", is_flag=True, help="Include workers that have gone.")
@RESULTS
@click.pass_context
def workers(context: click.Context, everyone: bool, results: Path) -> None:
    """List the workers: id, host, process, queues, and the age of the last heartbeat."""
    if context.invoked_subcommand is None:
        _list_workers(everyone, results)
    elif ParameterSource.COMMANDLINE in map(context.get_parameter_source, context.params):
        raise click.UsageError(f"options of `{context.invoked_subcommand}` are written after it")


@one_line_errors()
def _list_workers(everyone: bool, results: Path) -> None:
    known = LedgerLocation(results).exists()
    for line in run_list.list_workers(command_ledger(results), gone=everyone) if known else [run_list.NO_WORKERS]:
        click.echo(line)


@click.command()
@RESULTS
@one_line_errors()
def migrate(results: Path) -> None:
    """Create the ledger, or update it to this version's schema. Every other command does so too; workers may keep running."""
    ledger = command_ledger(results, make=True)
    click.echo(f"ledger {ledger.name}: schema {schema_of(ledger.engine)}")
