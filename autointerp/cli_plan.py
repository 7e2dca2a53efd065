"""`autointerp plan`: what a run would cost and tell, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli_base import QUIET, RESULTS, SET, one_line_errors


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--harvest", is_flag=True, help="Harvest first, or use the harvest there is: counts are then exact.")
@SET
@RESULTS
@QUIET
@one_line_errors()
def plan(spec: Path, harvest: bool, overrides: tuple[str, ...], results: Path, quiet: bool) -> None:
    """Show what SPEC would cost against how wide its intervals would be, for several choices. Calls no judge."""
    from autointerp import local, planning, planning_table
    from autointerp.progress import Progress
    from autointerp.spec import load

    loaded = load(spec, overrides)
    with Progress(quiet=quiet) as progress:
        run = local.prepare(loaded, results, progress) if harvest else None
    for line in planning_table.lines(planning.plan_of(loaded, results, run)):
        click.echo(line)
