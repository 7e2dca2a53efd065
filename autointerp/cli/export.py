"""`autointerp export`: a finished run in the formats of other programs and services."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import RESULTS, finished_run, one_line_errors, run_argument
from autointerp.exports.targets import TARGETS

_FORMATS = "\n".join(
    f"  {row.name:<14} {row.about}" + (f" (NAME: {row.naming})" if row.naming else "") for row in TARGETS.values()
)


@click.command(epilog=f"\b\nFormats:\n{_FORMATS}")
@run_argument()
@click.option("--to", required=True, type=click.Choice(list(TARGETS)), help="Format.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.  [default: exports/FORMAT in the run's folder]",
)
@click.option("--name", metavar="NAME", help="Name there; each format says what it names.")
@click.option("--public", is_flag=True, help="Let everyone see what is uploaded to the hub.")
@RESULTS
@one_line_errors("stopped: the export is not complete, run the same command again")
def export(run_id: str, to: str, out: Path | None, name: str | None, public: bool, results: Path) -> None:
    """Write a finished RUN, an id or a folder, in the format of another program or service.

    Nothing is computed or asked again: exports are made from the files of the results folder.
    """
    from autointerp.exports import command

    named = run_id if Path(run_id).is_dir() else finished_run(run_id, results)
    click.echo(command.export(named, to, results, out=out, name=name, public=public))
