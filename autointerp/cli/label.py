"""`autointerp label`: people grade a sample of what the judge graded."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from autointerp.cli.common import RESULTS, one_line_errors, run_argument, the_ledger
from autointerp.errors import UsageError


@click.command("label")
@run_argument()
@click.option("--rater", metavar="NAME", help="Whose labels these are.  [default: the user's name here]")
@click.option(
    "--items", type=click.IntRange(min=1), help="Items in the sample; more enlarge one that is there.  [default: 100]"
)
@click.option("--terminal", is_flag=True, help="Grade in this terminal instead of on a page, as over ssh.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page, for a tunnel.")
@click.option("--no-open", is_flag=True, help="Print the page's address, and open no browser.")
@click.option(
    "--export", "export", metavar="FILE", type=click.Path(path_type=Path), help="Write the items to a CSV file."
)
@click.option(
    "--import", "import_", metavar="FILE", type=click.Path(path_type=Path), help="Take labels from a CSV file."
)
@RESULTS
@one_line_errors("stopped; every label given so far is kept")
def label(
    run_id: str,
    rater: str | None,
    items: int | None,
    terminal: bool,
    port: int | None,
    no_open: bool,
    export: Path | None,
    import_: Path | None,
    results: Path,
) -> None:
    """Grade a random sample of RUN's judged items by hand, without seeing what the judge gave.

    Opens a page that is served on this machine alone. Every press is saved at once: the same command goes on where it stopped. A
    second rater, under another --rater, gets the same items in another order. `autointerp report RUN` then says how far judge and people agree.
    """
    ways = [name for name, given in (("--terminal", terminal), ("--export", export), ("--import", import_)) if given]
    if len(ways) > 1 or (ways and (port or no_open)):
        page = [name for name, given in (("--port", port), ("--no-open", no_open)) if given]
        raise UsageError(f"{' and '.join(ways + page)} exclude each other: leave one out")
    from autointerp.labelling import csv_file
    from autointerp.labelling import terminal as terminal_
    from autointerp.labelling.sheet import open_sheet

    sheet = open_sheet(the_ledger(results), results, run_id, rater or _user(), items)
    then = shlex.join(
        ["autointerp", "report", run_id, *([] if results == Path("results") else ["--results", str(results)])]
    )
    if export:
        csv_file.write(sheet, export)
        click.echo(
            f"{export}: {len(sheet.items)} items; fill in the scores, and bring them back with --import {export}"
        )
        return
    if import_:
        sheet.set(csv_file.read(sheet, import_))
    elif terminal:
        terminal_.label(sheet)
    else:
        from autointerp.labelling.web_page import serve

        click.echo(f"{sheet.describe()}; Ctrl-C ends this", err=True)
        serve(sheet, port=port, open_browser=not no_open, then=then, say=click.echo)
    click.echo(sheet.describe())
    click.echo(f"next: {then}")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("this machine does not say who you are: give --rater NAME") from None
