"""`autointerp explore`: a whole dictionary in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import RESULTS, existing_ledger, one_line_errors, run_argument


@click.command()
@run_argument(required=False)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the pages, for a tunnel or a bookmark.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. One that other machines reach asks for a token, which the printed address has.",
)
@click.option(
    "--token",
    metavar="TEXT",
    envvar="AUTOINTERP_EXPLORER_TOKEN",
    show_envvar=True,
    help="Ask every visitor for this token. Without it, a random one if other machines reach --host, else none.",
)
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
@click.option("--read-only", is_flag=True, help="Refuse every change.")
@RESULTS
@one_line_errors("stopped")
def explore(
    run_id: str | None, port: int | None, host: str, token: str | None, no_browser: bool, read_only: bool, results: Path
) -> None:
    """Open the dictionary of RUN in a browser: each feature with its explanation, examples and neighbours, and a search over all.

    `autointerp index RUN` makes the index that it shows. The pages are served on this machine alone until Ctrl-C, and list the other runs of
    the folder too. Without RUN: the newest run that has an index. RUN may also be the folder of an index.
    """
    from autointerp.explorer import command

    command.explore(
        run_id,
        results,
        existing_ledger(results),
        host=host,
        token=token,
        port=port,
        read_only=read_only,
        open_browser=not no_browser,
        say=click.echo,
    )
    click.echo("stopped", err=True)
