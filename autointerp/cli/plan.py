"""`autointerp plan`: what a run would cost and tell, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, SET, one_line_errors


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--harvest", is_flag=True, help="Harvest first, or use the harvest there is: counts are then exact.")
@SET
@RESULTS
@QUIET
@one_line_errors()
def plan(spec: Path, harvest: bool, overrides: tuple[str, ...], results: Path, quiet: bool) -> None:
    """Show what SPEC would cost against how wide its intervals would be, for several choices. Calls no judge."""
    from autointerp.costs import options, planning_table
    from autointerp.pipeline import local
    from autointerp.progress import Progress
    from autointerp.spec.spec import load

    loaded = load(spec, overrides)
    with Progress(quiet=quiet) as progress:
        run = local.prepare(loaded, results, progress) if harvest else None
    for line in planning_table.lines(options.plan_of(loaded, results, run)):
        click.echo(line)
