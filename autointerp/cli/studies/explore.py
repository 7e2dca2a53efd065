"""`autointerp explore`: a whole dictionary in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, NumberRange, existing_ledger, one_line_errors, run_argument
from autointerp.cli.studies.index import input_options
from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.studies.given import Given


@click.command()
@run_argument(required=False)
@input_options
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the pages, for a tunnel or a bookmark.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. One that other machines reach asks for a token, which the printed address has.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="Address under which a proxy with TLS makes the pages known, such as https://dict.example.org. It asks for a token.",
)
@click.option(
    "--token",
    metavar="TEXT",
    envvar="AUTOINTERP_EXPLORER_TOKEN",
    show_envvar=True,
    help="Ask every visitor for this token. Without it, a random one if other machines reach --host, else none.",
)
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
@click.option(
    "--usd",
    type=NumberRange(min=0),
    metavar="DOLLARS",
    help="Dollars at most for explanations and grades that are asked for on the pages, in all. Without it, what is left of the run's budget, or 1.",
)
@click.option("--read-only", is_flag=True, help="Make no index, and refuse every change.")
@RESULTS
@QUIET
@one_line_errors("stopped")
def explore(
    run_id: str | None,
    subject: str | None,
    dictionary: str | None,
    corpus: tuple[str, ...],
    hook_point: str | None,
    port: int | None,
    host: str,
    public_url: str | None,
    token: str | None,
    no_browser: bool,
    usd: float | None,
    read_only: bool,
    results: Path,
    quiet: bool,
) -> None:
    """Open the dictionary of RUN in a browser: each feature with its explanation, examples and neighbours, and a search over all.

    \b
    autointerp explore latest
    autointerp explore --subject MODEL --dictionary PATH --corpus FILE

    A dictionary without an index gets one first, as from `autointerp index`. The pages are served on this machine alone until Ctrl-C, and
    list the runs of the folder too. RUN may also be a spec file or the folder of an index; without it, the newest run with an index.
    """
    from autointerp.explorer import command

    command.check_token(token)
    command.origin_of(public_url)
    without_run = Given(
        subject=subject, dictionaries=(dictionary,) if dictionary else (), corpus=corpus, hook_point=hook_point, results=results, quiet=quiet
    )  # fmt: skip
    command.explore(
        _index_of(run_id, without_run, read_only=read_only),
        results,
        existing_ledger(results),
        host=host,
        public_url=public_url,
        token=token,
        port=port,
        read_only=read_only,
        usd=usd,
        open_browser=not no_browser,
        say=click.echo,
        note=lambda line: click.echo(line, err=True),
    )


def _index_of(run: str | None, given: Given, *, read_only: bool) -> Path:
    """The folder of the index that is meant, made if it is not there. Raises `UsageError`."""
    from autointerp.explorer import command

    if given.subject or given.dictionaries or given.corpus or given.hook_point:
        if run is not None:
            raise UsageError(
                f"{run} already names a dictionary and text: leave it out, or --subject, --dictionary, --corpus and --hook-point"
            )
    else:
        index, run = command.find_index(run, given.results)
        if index is not None:
            return index
    if read_only:
        command_line = f"autointerp index {run}" if run else "autointerp index"
        raise UsageError(
            f"--read-only makes no index: make it with `{command_line}`, and name the folder that it prints"
        )
    return _made(given) if run is None else made_index(run, given.results, given.quiet)


def made_index(run: str, results: Path, quiet: bool) -> Path:
    """The folder of the index of a run or a spec, made if it is not there."""
    return _made(Given(runs=(run,), results=results, quiet=quiet))


def _made(given: Given) -> Path:
    from autointerp.explorer.index import build  # torch

    with Progress(quiet=given.quiet) as progress:
        progress.note(f"the index of {', '.join(given.runs or given.dictionaries)} is made, once")
        return build.build(given, progress).path
