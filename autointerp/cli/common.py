"""What the commands share: options, one-line errors, and the completion of run ids."""

from __future__ import annotations

import atexit
import errno
import math
import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click
from click.shell_completion import CompletionItem

from autointerp import installation
from autointerp.errors import EXPECTED, INTERRUPTED_EXIT_CODE, AutointerpError, exit_code_of
from autointerp.monitoring import run_names
from autointerp.places import file_error, printable
from autointerp.redaction import hide

if TYPE_CHECKING:
    from autointerp.cli.ledger_location import LedgerLocation
    from autointerp.ledger.database import Ledger

P = ParamSpec("P")
RESULTS = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    envvar="AUTOINTERP_RESULTS",
    show_envvar=True,
    help="Folder for runs, their ledger and their artifacts.",
)
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the spec.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Harvest, then print what judging will cost. Calls no judge.")
YES = click.option("--yes", "agreed", is_flag=True, help="Agree to the cost, also without a budget.")
QUIET = click.option("--quiet", is_flag=True, help="Show no progress.")
INTERRUPTED = "stopped; all work so far is kept: run the same command to continue"


class NumberRange(click.FloatRange):
    """A range of numbers that refuses NaN too, which no comparison refuses: a budget of NaN would never be spent."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that is written."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


def one_line_errors(interrupted: str = INTERRUPTED) -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Turn every expected error into one line on stderr and its exit code; `interrupted` is printed after Ctrl-C."""

    def decorate(command: Callable[P, int | None]) -> Callable[P, None]:
        @wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                code = command(*args, **kwargs) or 0
            except KeyboardInterrupt:
                complain(interrupted)
                code = INTERRUPTED_EXIT_CODE
                _leave_at_once(code)
            except EXPECTED as error:
                complain(error)
                code = exit_code_of(error)
            except ModuleNotFoundError as error:
                if (message := installation.missing(error)) is None:
                    raise
                complain(message)
                code = AutointerpError.exit_code
            except OSError as error:
                if error.errno == errno.EPIPE:  # the reader of the output is gone, as in `autointerp runs | head`
                    raise
                complain(file_error(error))
                code = AutointerpError.exit_code
            sys.exit(code)

        return wrapped

    return decorate


def complain(what: object) -> None:
    """One line on stderr, without keys and passwords."""
    click.echo(complaint(what), err=True)


def complaint(what: object) -> str:
    """The line of `complain`."""
    return f"autointerp: {printable(hide(' '.join(str(what).split())))}"


def run_argument(*, nargs: int = 1, required: bool = True) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """The argument RUN, completed from the runs in the ledger. `run_list.known_run` and `finished_run` find the run that it names."""
    name = "run_id" if nargs == 1 else "run_ids"
    metavar = "RUN" if nargs == 1 else "RUN..."
    return click.argument(
        name,
        metavar=metavar if required else f"[{metavar}]",
        nargs=nargs,
        required=required,
        shell_complete=_complete,
    )


def command_ledger(results: Path, *, make: bool = False) -> Ledger:
    """The ledger, closed when the command ends. A missing one is created only with `make`. Raises `UsageError`."""
    location = _location(results)
    ledger = location.open() if make else location.open_existing()
    click.get_current_context().call_on_close(ledger.close)
    return ledger


def existing_ledger(results: Path) -> Ledger | None:
    """The ledger, closed when the command ends; None if there is none."""
    return command_ledger(results) if _location(results).exists() else None


def _location(results: Path) -> LedgerLocation:
    """The ledger's place, whose module imports the database."""
    from autointerp.cli.ledger_location import LedgerLocation

    return LedgerLocation(results)


def finished_run(name: str, results: Path) -> str:
    """The id of the run with results that `name` stands for: its id, the beginning of it, or `latest`. Raises `UsageError`."""
    return run_names.find(name, run_names.finished(results))


def _complete(context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    try:
        ids = _location(context.params.get("results") or Path("results")).run_ids()
    except AutointerpError:
        return []
    return [CompletionItem(run_id) for run_id in ids if run_id.startswith(text)]


def _leave_at_once(code: int) -> None:
    """End the process without the interpreter's own end, which waits for threads, aborts if one is in a library that is written in C++, and
    exits with a signal if Ctrl-C came in an `exec`, as an import has many. Calls whose replies threads wait for are left, as after a
    second Ctrl-C: the ledger knows of them."""
    try:
        if all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            click.get_current_context().close()
            atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
