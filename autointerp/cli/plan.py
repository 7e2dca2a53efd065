"""`autointerp plan`: the cost and precision of a run under several settings, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, SET, one_line_errors
from autointerp.progress import Progress


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--harvest", is_flag=True, help="Harvest first, or reuse the harvest: counts are then exact.")
@SET
@RESULTS
@QUIET
@one_line_errors()
def plan(spec: Path, harvest: bool, overrides: tuple[str, ...], results: Path, quiet: bool) -> None:
    """Compare the cost of SPEC with the width of its intervals under several settings. Calls no judge."""
    from autointerp.costs import options, options_table
    from autointerp.pipeline.prepare import prepare
    from autointerp.spec.spec import load

    loaded = load(spec, overrides)
    with Progress(quiet=quiet) as progress:
        run = prepare(loaded, results, progress) if harvest else None
    for line in options_table.lines(options.plan_of(loaded, results, run)):
        click.echo(line)
