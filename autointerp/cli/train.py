"""`autointerp train`: train dictionaries, one or several from one stream, or a grid of them for scaling laws."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, SET, one_line_errors
from autointerp.progress import Progress


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the dictionaries."
)
@click.option("--sweep", is_flag=True, help="Train the grid of the table [sweep], and fit the scaling laws.")
@click.option("--dry-run", is_flag=True, help="Estimate the cost by a probe of a few seconds. Trains nothing.")
@SET
@QUIET
@one_line_errors()
def train(config: Path, out: Path, sweep: bool, dry_run: bool, overrides: tuple[str, ...], quiet: bool) -> None:
    """Train the dictionaries of CONFIG (a TOML file), and save them in SAELens' format. Resumes what is in --out."""
    from autointerp.dictionaries import scaling_report, training_file  # torch

    file = training_file.load(config, overrides)
    with Progress(quiet=quiet) as progress:
        if dry_run:
            lines = [scaling_report.cost(training_file.cost_of(file, progress.update, sweep=sweep))]
        elif sweep:
            cells, laws = training_file.sweep_from(file, out, progress.update)
            scaling_report.write(out, cells, laws, f"Scaling of {file.config().architecture} at {file.hook_point}")
            lines = [*scaling_report.sentences(laws), str(out / "sweep.svg")]
        else:
            lines = [
                f"{folder}: L0 {report.l0:.1f}, explained variance {report.explained_variance:.3f}, "
                f"dead {report.dead_fraction:.1%}, {report.tokens:,} tokens in {report.seconds:.0f} s"
                for folder, report in training_file.train_from(file, out, progress.update).items()
            ]
    click.echo("\n".join(lines))
