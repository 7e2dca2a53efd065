"""`autointerp demo`: a real dictionary, trained on this machine, evaluated end to end."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import DRY_RUN, QUIET, RESULTS, SET, one_line_errors
from autointerp.cli.run import evaluate
from autointerp.demo import judge as demo_judge
from autointerp.demo import spec as demo_spec
from autointerp.progress import Progress


@click.command()
@click.option(
    "--judge", metavar="PROVIDER/MODEL", help="Model that explains and scores instead of the embedded baseline."
)
@click.option("--judge-url", metavar="URL", help="Address of an OpenAI-compatible server.")
@click.option("--llm", is_flag=True, help="Use a small local language model as judge: a download of 1.1 GB.")
@SET
@DRY_RUN
@RESULTS
@QUIET
@one_line_errors()
def demo(
    judge: str | None,
    judge_url: str | None,
    llm: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    results: Path,
    quiet: bool,
) -> int:
    """Evaluate a real dictionary, trained here in minutes on SmolLM2-135M, end to end."""
    with Progress(quiet=quiet) as progress, demo_judge.choose(judge, judge_url, llm, progress.tell) as chosen:
        if demo_spec.is_first():
            progress.note(
                "The first demo here downloads 150 MB, trains a dictionary and reads a corpus: about ten minutes on two cores."
                " Ctrl-C keeps what is done."
            )
        spec = demo_spec.prepare_spec(chosen.settings, (*chosen.overrides, *overrides), progress.tell)
        return evaluate(spec, results, progress, dry_run=dry_run)
