"""`autointerp submit`, `resume`, `cancel` and `retry`: runs that the workers carry. The ledger holds the queue, so Redis may be down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from autointerp.calls import consent
from autointerp.cli.common import (
    QUIET,
    RESULTS,
    SET,
    YES,
    command_ledger,
    complain,
    complaint,
    one_line_errors,
    run_argument,
)
from autointerp.errors import EXPECTED, UsageError, exit_code_of
from autointerp.places import open_folder
from autointerp.progress import Progress

if TYPE_CHECKING:
    from autointerp.ledger.database import Ledger
    from autointerp.pipeline.submit import CostBound
    from autointerp.spec.matrix import Cell

T = TypeVar("T")


@click.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
@SET
@click.option("--dry-run", is_flag=True, help="Print the runs' ids and what they may cost. Queues nothing.")
@YES
@RESULTS
@QUIET
@one_line_errors("stopped; the runs printed above are queued, the others are not: run the same command to continue")
def submit(
    specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, agreed: bool, results: Path, quiet: bool
) -> int:
    """Queue the runs that SPECs (TOML files) describe for the workers.

    Prints one line for each spec: the run's id, and whether it is new, resumed, already queued or done. The same spec twice is one
    run. A spec with a [matrix] is a run for each combination of its values; when they are done, `autointerp compare SPEC` compares
    them. Invalid specs are reported and skipped: the others are submitted, and the exit code is 2. Without budget.usd, a run that may
    usually cost more than one dollar asks first; in a script it is skipped unless --yes is given.
    """
    from autointerp.pipeline import submit as submission

    ledger = None if dry_run else command_ledger(open_folder(results), make=True)

    def one(label: str, cell: Cell, bound: CostBound) -> None:
        if ledger is None:
            progress.say("\n".join([submission.run_id_of(cell.spec, progress.update), *bound.lines]))
            return
        for line in [f"{label}:", *bound.lines] if bound.lines else []:
            progress.note(line)
        consent.require(bound.usual_usd, cell.spec.budget.usd, progress, agreed=agreed)
        submitted = submission.submit(ledger, cell.spec, results, on_progress=progress.update)
        progress.say(f"{submitted.run_id}  {submitted.was}")

    def refused(what: object) -> None:
        progress.say(complaint(what), err=True)

    def of_file(path: Path) -> int:
        found, total = submission.read_with_costs(path, overrides)
        if total:
            (progress.say if dry_run else progress.note)(total)
        cells = {cell.label if cell.values else str(path): (cell, bound) for cell, bound in found}
        return _each(cells, lambda label: one(label, *cells[label]), "not submitted", refused)

    with Progress(quiet=quiet) as progress:
        code = _each(specs, of_file, "not submitted", refused)
        if ledger is not None and not submission.live_workers(ledger):
            progress.note("no worker is running: the runs wait in the ledger until one is started")
    return code


@click.command()
@run_argument(nargs=-1)
@RESULTS
@one_line_errors()
def resume(run_ids: tuple[str, ...], results: Path) -> int:
    """Queue RUNs that were stopped, cancelled or failed again. Finished work is kept."""
    ledger = command_ledger(results)
    return _each(run_ids, lambda name: _act("resume", ledger, name, results))


@click.command()
@run_argument(nargs=-1)
@RESULTS
@one_line_errors()
def cancel(run_ids: tuple[str, ...], results: Path) -> int:
    """Cancel RUNs: start no new calls. Calls in flight finish, and finished work is kept: `resume` continues from there."""
    ledger = command_ledger(results)
    return _each(run_ids, lambda name: _act("cancel", ledger, name, results))


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
    if not failed:
        raise UsageError(f"choose what to retry: `autointerp retry --failed {run_id}`")
    _act("retry", command_ledger(results), run_id, results)


def _act(action: Literal["resume", "cancel", "retry"], ledger: Ledger, name: str, results: Path) -> None:
    """Do something with a run, and print its id and what was done."""
    from autointerp.monitoring import run_list
    from autointerp.pipeline import submit as submission

    run_id = run_list.known_run(name, ledger)
    if action == "retry":
        n_queued = submission.retry(ledger, run_id, results)
        done = f"{n_queued:,} failed jobs queued" if n_queued else "nothing failed"
    elif action == "resume":
        submission.resume(ledger, run_id, results)
        done = "resumed"
    else:
        submission.cancel(ledger, run_id)
        done = "cancelled"
    click.echo(f"{run_id}  {done}")


def _each(
    items: Iterable[T], work: Callable[[T], int | None], failure: str = "", report: Callable[[object], None] = complain
) -> int:
    """Do the same for every item; an error is printed and does not stop the others. Returns the first error's exit code, or 0."""
    codes = []
    for item in items:
        try:
            codes.append(work(item) or 0)
        except EXPECTED as error:
            report(f"{item}: {failure}: {error}" if failure else error)
            codes.append(exit_code_of(error))
    return next(filter(None, codes), 0)
