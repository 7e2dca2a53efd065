"""`autointerp inspect`: how a dictionary is read, and how well it fits a model, before anything is spent."""

from __future__ import annotations

import json

import click

from autointerp.cli.common import QUIET, one_line_errors
from autointerp.errors import UsageError
from autointerp.progress import Progress


@click.command("inspect")
@click.argument("dictionary")
@click.option("--subject", metavar="MODEL", help="Measure the fit to this model: a hub id, folder or .gguf file.")
@click.option(
    "--corpus", metavar="FILE", multiple=True, help="Text to measure on; may be repeated.  [default: the demo's]"
)
@click.option("--tokens", default=8192, show_default=True, type=click.IntRange(min=256), help="Tokens to measure on.")
@click.option("--format", metavar="NAME", help="Weight format, if the files do not identify it.")
@click.option("--hook-point", metavar="NAME", help="Hook point that the dictionary reads, such as resid_post.12.")
@click.option("--k", type=click.IntRange(min=1), help="Active features per token, if the files do not state it.")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@QUIET
@one_line_errors("stopped")
def inspect(
    dictionary: str,
    subject: str | None,
    corpus: tuple[str, ...],
    tokens: int,
    format: str | None,
    hook_point: str | None,
    k: int | None,
    revision: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show how DICTIONARY is read and, given a subject, how much of the subject's activations it explains.

    DICTIONARY is a folder, a file, a hub id, or a spec (.toml), whose subject and corpus are then used: a spec is the place for every
    key of the corpus that an error names. Exits with 2 if the dictionary explains nothing.
    """
    from autointerp.dictionaries import inspection  # torch

    overrides = {"format": format, "hook_point": hook_point, "k": k, "revision": revision}
    with Progress(quiet=quiet) as progress:
        found = inspection.inspect(
            inspection.request_of(dictionary, subject, corpus, overrides, tokens), tokens, progress.update
        )
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(inspection.lines(found)))
    return UsageError.exit_code if found.get("check", {}).get("verdict") == "nothing" else 0
