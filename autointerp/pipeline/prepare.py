"""Prepares runs in this process: opens their inputs and harvests them, or reuses the harvest. Loads models; spends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from autointerp.calls.cost_limits import check_judges
from autointerp.errors import EXPECTED
from autointerp.harvest import merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import InputCache, Inputs, open_inputs
from autointerp.harvest.plan import MOST_TOGETHER
from autointerp.locks import locked
from autointerp.pipeline import stages
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.spec import Spec


def prepare(spec: Spec, results: Path, progress: Progress) -> Run:
    """Open the inputs and harvest them, or reuse the harvest. Raises `UsageError` and `SaeError`."""
    check_judges(spec)
    rubric_ = rubric.load(spec.score.rubric)
    opened = open_inputs(spec, progress.update)
    run_id = opened.run_id(rubric_)
    with locked(results / "artifacts" / f"harvest-{opened.harvest_key()[:16]}.lock", "this harvest"):
        harvest = merge.harvest(opened, Artifacts(results / "artifacts"), progress.update)
    del opened
    return stages.open_run(run_id, spec, rubric_, results, harvest)


def harvest_together(specs: Sequence[Spec], results: Path, progress: Progress) -> None:
    """Harvest all specs; those with the same subject and corpus share one pass over the corpus.

    A spec that cannot be harvested is skipped: `prepare` raises its error later.
    """
    opened, passes = InputCache(), dict[str, list[Inputs]]()
    artifacts = Artifacts(results / "artifacts")
    for spec in specs:
        with suppress(*EXPECTED):
            inputs = opened.inputs(spec, on_progress=progress.update)
            shards.begin_harvest(inputs, artifacts, progress.update)
            passes.setdefault(inputs.pass_key(), []).append(inputs)
    for sharing in passes.values():
        distinct = list({inputs.harvest_key(): inputs for inputs in sharing}.values())
        for start in range(0, len(distinct), MOST_TOGETHER):
            with suppress(*EXPECTED):
                _harvest_pass(distinct[start : start + MOST_TOGETHER], artifacts, results, progress)


def _harvest_pass(sharing: Sequence[Inputs], artifacts: Artifacts, results: Path, progress: Progress) -> None:
    with ExitStack() as stack:
        for key in sorted(inputs.harvest_key()[:16] for inputs in sharing):
            stack.enter_context(locked(results / "artifacts" / f"harvest-{key}.lock", "this harvest"))
        for number, inputs in enumerate(sharing):
            merge.harvest(inputs, artifacts, progress.update, also=sharing[number + 1 :])
