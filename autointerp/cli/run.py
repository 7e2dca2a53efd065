"""`autointerp run`, `plan`, `report` and `open`: evaluate dictionaries in this process, compare settings before, write and open reports."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

import click

from autointerp.cli.common import (
    DRY_RUN,
    QUIET,
    RESULTS,
    SET,
    YES,
    command_ledger,
    complain,
    finished_run,
    one_line_errors,
    run_argument,
)
from autointerp.errors import UsageError
from autointerp.monitoring.run_names import LATEST


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@SET
@click.option("--compare", is_flag=True, help="Compare the runs of several SPECs at the end, as with a [matrix].")
@DRY_RUN
@YES
@RESULTS
@QUIET
@one_line_errors()
def run(
    specs: tuple[Path, ...],
    overrides: tuple[str, ...],
    compare: bool,
    dry_run: bool,
    agreed: bool,
    results: Path,
    quiet: bool,
) -> int:
    """Evaluate the dictionary that each SPEC (a TOML file) names, write the reports, and carry out the studies that SPEC names.

    Dictionaries that read the same subject and corpus are harvested in one pass. A SPEC with a [matrix] is a run for each combination of
    the values that it lists: their cost is printed first, a run that fails leaves the others, and one comparison of all ends it. Without
    budget.usd, runs whose forecast exceeds one dollar ask before they spend; in a script they stop unless --yes is given.
    """
    from autointerp.pipeline.batch import evaluate_files

    return evaluate_files(
        specs,
        overrides,
        results,
        lambda: command_ledger(results, make=True),
        compare=compare,
        dry_run=dry_run,
        quiet=quiet,
        command=["autointerp", *sys.argv[1:]],
        agreed=agreed,
    )


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--harvest", is_flag=True, help="Harvest first, or reuse the harvest: counts are then exact.")
@SET
@RESULTS
@QUIET
@one_line_errors()
def plan(spec: Path, harvest: bool, overrides: tuple[str, ...], results: Path, quiet: bool) -> None:
    """Compare the cost of SPEC with the width of its intervals under several settings. Calls no judge."""
    from autointerp.pipeline.evaluate import compare_options

    for line in compare_options(spec, overrides, results, harvest=harvest, quiet=quiet):
        click.echo(line)


@click.command()
@run_argument()
@RESULTS
@one_line_errors()
def report(run_id: str, results: Path) -> None:
    """Write the report of RUN again, with the labels given since. Without its ledger, from the files in its folder."""
    from autointerp.pipeline.finish import rewrite

    click.echo(rewrite(finished_run(run_id, results), results, lambda: command_ledger(results)))


@click.command("open")
@run_argument(required=False)
@RESULTS
@one_line_errors()
def open_report(run_id: str | None, results: Path) -> None:
    """Open the report of RUN in a browser, and print its path. Without RUN: the latest report."""
    path = results / finished_run(run_id or LATEST, results) / "report.html"
    if not path.exists():
        raise UsageError(
            f"there is no {path}: `autointerp runs` lists the runs, and `autointerp report RUN` writes a report"
        )
    click.echo(path)
    if not webbrowser.open(path.absolute().as_uri()):
        complain("no browser was found: open the path above in one, or copy the file to a machine that has one")
