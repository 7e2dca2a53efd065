"""`autointerp run`: evaluate dictionaries in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autointerp.cli.common import DRY_RUN, QUIET, RESULTS, SET, command_ledger, one_line_errors
from autointerp.costs import run_forecast
from autointerp.errors import WITHHELD_EXIT_CODE
from autointerp.pipeline import local
from autointerp.progress import Progress
from autointerp.report.index import write as write_index
from autointerp.report.prose import verdict
from autointerp.spec.spec import Spec, load


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@SET
@DRY_RUN
@RESULTS
@QUIET
@one_line_errors()
def run(specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Evaluate the dictionary that each SPEC (a TOML file) names, and write the reports.

    Dictionaries that read the same subject and corpus are harvested in one pass.
    """
    loaded = [load(spec, overrides) for spec in specs]
    if len(loaded) > 1:
        from autointerp.pipeline.prepare import harvest_together  # torch

        with Progress(quiet=quiet) as progress:
            harvest_together(loaded, results, progress)
    codes = []
    for spec in loaded:
        with Progress(quiet=quiet) as progress:
            codes.append(evaluate(spec, results, progress, dry_run=dry_run))
    return max(codes)


def evaluate(spec: Spec, results: Path, progress: Progress, *, dry_run: bool) -> int:
    """Forecast a run or carry it to its report, print the verdict, and return the exit code."""
    from autointerp.pipeline.prepare import prepare  # torch

    run = prepare(spec, results, progress)
    ledger = command_ledger(results, make=True)
    forecast = run_forecast.forecast(run, ledger)
    if dry_run:
        click.echo(forecast.describe())
        return 0
    if forecast.asks_llm:
        progress.note(forecast.describe())
    summary = local.carry(run, ledger, progress, command=["autointerp", *sys.argv[1:]])
    write_index(results)
    click.echo(verdict(summary).sentence)
    click.echo(run.folder / "report.html")
    return WITHHELD_EXIT_CODE if summary.headline.withheld else 0
