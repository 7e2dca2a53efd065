"""`autointerp figures`: the figures of a run for papers."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import RESULTS, finished_run, one_line_errors, run_argument


@click.command()
@run_argument()
@click.option("--format", "format_", type=click.Choice(["pdf", "svg", "png"]), default="pdf", show_default=True)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the files; by default figures/ in that of RUN.",
)
@RESULTS
@one_line_errors()
def figures(run_id: str, format_: str, to: Path | None, results: Path) -> None:
    """Write the figures of RUN for a paper: grades by activation, controls, and distinction, one or two columns wide."""
    from autointerp.report import paper_figures

    folder = results / finished_run(run_id, results)
    for path in paper_figures.write(folder, to or folder / "figures", format_):
        click.echo(str(path))
