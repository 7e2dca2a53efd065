"""Prepares runs in this process: opens their inputs and harvests them, or reuses the harvest. Loads models; spends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from autointerp.calls.cost_limits import check_judges
from autointerp.errors import EXPECTED, UsageError
from autointerp.harvest import merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import finished_harvest
from autointerp.harvest.inputs import EARLIER_VERSION, InputCache, Inputs, OpenInputs, open_inputs
from autointerp.harvest.plan import MOST_TOGETHER
from autointerp.ledger import jobs, runs
from autointerp.ledger.database import Ledger
from autointerp.locks import locked
from autointerp.pipeline import stages
from autointerp.pipeline.earlier import as_begun
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


def prepare(
    spec: Spec, results: Path, progress: Progress, ledger: Ledger | None = None, open_: OpenInputs = open_inputs
) -> Run:
    """Open the inputs and harvest them, or reuse the harvest. Raises `UsageError` and `SaeError`.

    `ledger`, if it exists, knows which harvest the run began with. `open_` opens the inputs.
    """
    check_judges(spec)
    rubric_ = rubric.load(spec.score.rubric)
    opened = _as_begun(open_(spec, progress.update), rubric_, ledger)
    spec, run_id = opened.spec, opened.run_id(rubric_)
    if ledger is not None and _began_earlier(ledger, run_id, opened):
        opened = replace(opened, version=EARLIER_VERSION)
        if finished_harvest(Artifacts(results / "artifacts"), opened.harvest_key()[:16]) is None:
            raise UsageError(
                f"run {run_id} began with harvest-{opened.harvest_key()[:16]} of an earlier version, which is not in"
                f" {results / 'artifacts'}: restore it, or run the spec anew with another --results"
            )
    with locked(results / "artifacts" / f"harvest-{opened.harvest_key()[:16]}.lock", "this harvest"):
        harvest = merge.harvest(opened, Artifacts(results / "artifacts"), progress.update)
    del opened
    return stages.open_run(run_id, spec, rubric_, results, harvest)


def _as_begun(inputs: Inputs, rubric_: Rubric, ledger: Ledger | None) -> Inputs:
    """The inputs, with the spec of `as_begun`."""
    return replace(inputs, spec=as_begun(inputs.spec, lambda spec: replace(inputs, spec=spec).run_id(rubric_), ledger))


def _began_earlier(ledger: Ledger, run_id: str, inputs: Inputs) -> bool:
    """Whether the run has questions over a harvest of `EARLIER_VERSION`, which did not record the harvests of runs in one process."""
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
        if row is None:
            return False
        if not row["harvest_key"] and row["carrier"] == "local":
            return jobs.exists(tx, run_id, ["explain"])
    return bool(row["harvest_key"] == replace(inputs, version=EARLIER_VERSION).harvest_key()[:16])


def harvest_together(specs: Sequence[Spec], results: Path, progress: Progress, ledger: Ledger | None = None) -> None:
    """Harvest all specs; those with the same subject and corpus share one pass over the corpus.

    A spec that cannot be harvested, or whose run began with an earlier version's harvest, is skipped: `prepare` raises its error later.
    """
    opened, passes = InputCache(), dict[str, list[Inputs]]()
    artifacts = Artifacts(results / "artifacts")
    for spec in specs:
        with suppress(*EXPECTED):
            rubric_ = rubric.load(spec.score.rubric)
            inputs = _as_begun(opened.inputs(spec, on_progress=progress.update), rubric_, ledger)
            run_id = inputs.run_id(rubric_)
            if ledger is not None and _began_earlier(ledger, run_id, inputs):
                continue
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
