"""`autointerp label`: people grade a sample of what the judge graded."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path

import click

from autointerp.cli.common import RESULTS, command_ledger, finished_run, one_line_errors, run_argument
from autointerp.errors import UsageError


@click.command("label")
@run_argument()
@click.option("--rater", metavar="NAME", help="Name of the rater.  [default: your user name]")
@click.option(
    "--items",
    type=click.IntRange(min=1),
    help="Sample size; a larger value extends an existing sample.  [default: 100]",
)
@click.option(
    "--terminal",
    "in_terminal",
    is_flag=True,
    help="Grade in this terminal instead of a web page, for example over ssh.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web page, for a tunnel.")
@click.option("--no-open", is_flag=True, help="Print the address of the web page without opening a browser.")
@click.option(
    "--export", "export", metavar="FILE", type=click.Path(path_type=Path), help="Write the items to a CSV file."
)
@click.option(
    "--import", "import_", metavar="FILE", type=click.Path(path_type=Path), help="Read labels from a CSV file."
)
@RESULTS
@one_line_errors("stopped; every label given so far is kept")
def label(
    run_id: str,
    rater: str | None,
    items: int | None,
    in_terminal: bool,
    port: int | None,
    no_open: bool,
    export: Path | None,
    import_: Path | None,
    results: Path,
) -> None:
    """Grade a random sample of RUN's judged items by hand, without seeing the judge's grades.

    Opens a web page that is served on this machine alone. Every label is saved at once: the same command continues where it stopped.
    A second rater, under another --rater, gets the same items in another order. `autointerp report RUN` then shows the agreement
    between judge and people.
    """
    ways = [name for name, given in (("--terminal", in_terminal), ("--export", export), ("--import", import_)) if given]
    if len(ways) > 1 or (ways and (port or no_open)):
        page = [name for name, given in (("--port", port), ("--no-open", no_open)) if given]
        raise UsageError(f"{' and '.join(ways + page)} exclude each other: leave one out")
    from autointerp.labelling import csv_file, sheet, terminal, web_page

    run_id = finished_run(run_id, results)
    opened = sheet.open_sheet(command_ledger(results), results, run_id, rater or _user(), items)
    then = shlex.join(
        ["autointerp", "report", run_id, *([] if results == Path("results") else ["--results", str(results)])]
    )
    if export:
        csv_file.write(opened, export)
        click.echo(
            f"{export}: {len(opened.items)} items; fill in the scores, and read them back with --import {export}"
        )
        return
    if import_:
        opened.set(csv_file.read(opened, import_))
    elif in_terminal:
        terminal.label(opened)
    else:
        click.echo(f"{opened.describe()}; press Ctrl-C to stop", err=True)
        web_page.serve(opened, port=port, open_browser=not no_open, then=then, say=click.echo)
    click.echo(opened.describe())
    click.echo(f"next: {then}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("your user name is unknown here: give --rater NAME") from None
