"""`autointerp inspect`: look at a dictionary before anything is spent on it."""

from __future__ import annotations

import json

import click

from autointerp.cli.common import QUIET, one_line_errors
from autointerp.errors import UsageError


@click.command("inspect")
@click.argument("dictionary")
@click.option(
    "--subject", metavar="MODEL", help="Measure what it explains of this model: a hub id, folder or .gguf file."
)
@click.option(
    "--corpus", metavar="FILE", multiple=True, help="Text to measure on; may be repeated. Left out: the demo's."
)
@click.option("--tokens", default=8192, show_default=True, type=click.IntRange(min=256), help="Tokens to measure on.")
@click.option("--format", metavar="NAME", help="How the weights are stored, where the files do not tell.")
@click.option("--hook-point", metavar="NAME", help="Where it reads the subject, such as resid_post.12.")
@click.option("--k", type=click.IntRange(min=1), help="Features active a token, where the files do not say.")
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
    """Say how DICTIONARY was understood and, given a subject, what it explains of it.

    DICTIONARY is a folder, a file, a hub id, or a spec (.toml), whose subject and corpus are then used. Exits with 2 when it
    explains nothing.
    """
    from autointerp.dictionaries import inspection
    from autointerp.progress import Progress

    overrides = {"format": format, "hook_point": hook_point, "k": k, "revision": revision}
    with Progress(quiet=quiet) as progress:
        found = inspection.inspect(
            inspection.asked(dictionary, subject, corpus, overrides, tokens), tokens, progress.tell
        )
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(inspection.lines(found)))
    return UsageError.exit_code if found.get("check", {}).get("verdict") == "nothing" else 0
