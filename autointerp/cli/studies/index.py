"""`autointerp index`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

from autointerp.cli.common import QUIET, RESULTS, finished_run, one_line_errors
from autointerp.errors import UsageError
from autointerp.progress import Progress
from autointerp.studies.given import Given

P = ParamSpec("P")
_INPUTS = (
    click.option("--subject", metavar="MODEL", help="A hub id, folder or .gguf file, if no run names it."),
    click.option("--dictionary", metavar="PATH", help="A dictionary of the subject, if no run names it."),
    click.option("--corpus", multiple=True, metavar="FILE", help="Text in place of the run's. May be repeated."),
    click.option("--hook-point", metavar="NAME", help="Hook point of --dictionary, if its files do not state it."),
)
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def input_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add the options that name a dictionary and text without a run."""
    for option in reversed(_INPUTS):
        command = option(command)
    return command


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@input_options
@click.option("--neurons", is_flag=True, help="Index the neurons of the layer too.")
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="Tokens to read at most.  [default: the run's]")
@click.option(
    "--memory",
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="Memory beside the model; less takes more passes.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.  [default: in the run's folder]",
)
@RESULTS
@QUIET
@one_line_errors()
def index(
    run: str | None,
    subject: str | None,
    dictionary: str | None,
    corpus: tuple[str, ...],
    hook_point: str | None,
    neurons: bool,
    tokens: int | None,
    memory: str,
    out: Path | None,
    results: Path,
    quiet: bool,
) -> None:
    """Index every feature of a dictionary: examples, tokens that it promotes, and features like it.

    \b
    autointerp index latest
    autointerp index spec.toml --neurons
    autointerp index --subject MODEL --dictionary PATH --corpus FILE

    RUN is a finished run or a spec file. The index is read by `autointerp explore`, and its files by any program that reads Parquet. One
    pass over the text serves as many features as fit into --memory.
    """
    size = _bytes(memory)
    runs = () if run is None else (run if run.endswith(".toml") else finished_run(run, results),)
    from autointerp.explorer.index import build  # torch

    given = Given(
        runs=runs,
        subject=subject,
        dictionaries=(dictionary,) if dictionary else (),
        corpus=corpus,
        hook_point=hook_point,
        out=out,
        results=results,
        quiet=quiet,
    )
    with Progress(quiet=quiet) as progress:
        folder = build.build(given, progress, neurons=neurons, tokens=tokens, memory=size)
    about = folder.about
    click.echo(
        f"{about.n_features:,} features{f' and {about.n_neurons:,} neurons' if about.n_neurons else ''},"
        f" {about.n_tokens:,} tokens of {about.n_documents:,} documents"
    )
    progress.say_path("Index:", folder.path)


def _bytes(text: str) -> int:
    """A number of bytes such as `2GB`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]B)?", text.strip().upper())
    if match is None or not (size := int(float(match[1]) * _UNITS[match[2] or ""])):
        raise UsageError(f"--memory {text!r}: write a size such as 2GB or 500MB")
    return size
