"""`autointerp plan`: the cost and precision of a run under several settings, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, SET, one_line_errors


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
