"""`autointerp demo`: a real dictionary evaluated end to end."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autointerp.cli.common import DRY_RUN, QUIET, RESULTS, SET, YES, command_ledger, one_line_errors


@click.command()
@click.option(
    "--judge", metavar="PROVIDER/MODEL", help="Model that explains and scores instead of the embedded baseline."
)
@click.option("--judge-url", metavar="URL", help="Address of an OpenAI-compatible server.")
@click.option("--llm", is_flag=True, help="Use a small local language model as judge: a download of 1.1 GB.")
@click.option("--full", is_flag=True, help="Train a dictionary of 4,096 features in the middle of the model first.")
@SET
@DRY_RUN
@YES
@RESULTS
@QUIET
@one_line_errors()
def demo(
    judge: str | None,
    judge_url: str | None,
    llm: bool,
    full: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    agreed: bool,
    results: Path,
    quiet: bool,
) -> int:
    """Evaluate a real dictionary of SmolLM2-135M end to end, in minutes."""
    from autointerp.demo.command import evaluate_demo

    return evaluate_demo(
        judge,
        judge_url,
        overrides,
        results,
        lambda: command_ledger(results, make=True),
        llm=llm,
        full=full,
        dry_run=dry_run,
        quiet=quiet,
        command=["autointerp", *sys.argv[1:]],
        agreed=agreed,
    )
