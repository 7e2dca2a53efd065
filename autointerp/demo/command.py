"""The demo: chooses its judge, trains its dictionary, and evaluates it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autointerp.demo import judge as demo_judge
from autointerp.demo import spec as demo_spec
from autointerp.ledger.database import Ledger
from autointerp.pipeline.evaluate import evaluate
from autointerp.progress import Progress

FIRST = (
    "The first demo here downloads 150 MB, trains a dictionary and reads a corpus: about ten minutes on two cores."
    " After Ctrl-C the same command continues."
)


def evaluate_demo(
    judge: str | None,
    judge_url: str | None,
    overrides: Sequence[str],
    results: Path,
    open_ledger: Callable[[], Ledger],
    *,
    llm: bool,
    dry_run: bool,
    quiet: bool,
    command: Sequence[str],
    agreed: bool = False,
) -> int:
    """Train the demo's dictionary unless it is cached, evaluate it, and return the exit code. Arguments as in `evaluate_files`."""
    with Progress(quiet=quiet) as progress, demo_judge.choose(judge, judge_url, llm, progress.update) as chosen:
        if demo_spec.is_first():
            progress.note(FIRST)
        spec = demo_spec.prepare_spec(chosen.settings, (*chosen.overrides, *overrides), progress.update)
        return evaluate(spec, results, progress, open_ledger, dry_run=dry_run, command=command, agreed=agreed)
