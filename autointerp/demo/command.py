"""The demo: chooses its judge, prepares its inputs, and evaluates its dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autointerp.demo import judge as demo_judge
from autointerp.demo import spec as demo_spec
from autointerp.ledger.database import Ledger
from autointerp.pipeline.evaluate import evaluate
from autointerp.progress import Progress

FIRST = (
    "The first demo here downloads 150 MB and reads a corpus: about three minutes on two cores, after set-up."
    " After Ctrl-C the same command continues."
)
FIRST_FULL = (
    "The first full demo here downloads 150 MB, trains a dictionary and reads a corpus: a quarter of an hour on two cores with"
    " bfloat16 in hardware, and three times as long without. After Ctrl-C the same command continues."
)


def evaluate_demo(
    judge: str | None,
    judge_url: str | None,
    overrides: Sequence[str],
    results: Path,
    open_ledger: Callable[[], Ledger],
    *,
    llm: bool,
    full: bool,
    dry_run: bool,
    quiet: bool,
    command: Sequence[str],
    agreed: bool = False,
) -> int:
    """Evaluate the demo's dictionary, and return the exit code. `full` trains a larger one first. Arguments as in `evaluate_files`."""
    with Progress(quiet=quiet) as progress, demo_judge.choose(judge, judge_url, llm, progress.update) as chosen:
        if demo_spec.is_first():
            progress.note(FIRST_FULL if full else FIRST)
        spec = demo_spec.prepare_spec(chosen.settings, (*chosen.overrides, *overrides), progress.update, full=full)
        _, code = evaluate(spec, results, progress, open_ledger, dry_run=dry_run, command=command, agreed=agreed)
        return code
