"""Prepares runs in this process: opens their inputs and harvests them, or reuses the harvest. Loads models; spends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from autointerp.calls.cost_limits import check_judges
from autointerp.errors import EXPECTED, UsageError
from autointerp.harvest import dictionary_checks, merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import FILES, finished_harvest, is_complete, local_folder
from autointerp.harvest.input_cache import InputCache
from autointerp.harvest.inputs import (
    EARLIER_VERSION,
    HARVEST_VERSION,
    Identified,
    Inputs,
    OpenInputs,
    identify,
    identify_unread,
    open_unread,
    precision_of,
)
from autointerp.harvest.plan import MOST_TOGETHER, SharedPlan, read_plan
from autointerp.ledger import jobs, runs
from autointerp.ledger.database import Ledger
from autointerp.locks import locked
from autointerp.pipeline import stages
from autointerp.pipeline.earlier import as_begun
from autointerp.progress import OnProgress, Progress
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec
from autointerp.studies import of_spec

Named = TypeVar("Named", Inputs, Identified)
"""A spec's inputs, loaded or known by content alone."""


def prepare(
    spec: Spec, results: Path, progress: Progress, ledger: Ledger | None = None, open_: OpenInputs | None = None
) -> Run:
    """Open the inputs and harvest them, or reuse the harvest. Weights are read only if activations are. Raises `UsageError` and `SaeError`.

    `ledger`, if it exists, knows which harvest the run began with. `open_` opens inputs that are not at the spec's paths.
    """
    _check(spec)
    rubric_, artifacts = rubric.load(spec.score.rubric), Artifacts(results / "artifacts")
    finished = None if open_ else _finished(spec, rubric_, artifacts, progress, ledger)
    if finished is not None:
        identified, plan = finished
        harvest = local_folder(artifacts, plan.key)
        return stages.open_run(identified.run_id(rubric_), identified.spec, rubric_, results, harvest)
    opened = _as_begun((open_ or open_unread)(spec, progress.update), rubric_, ledger)
    spec, run_id = opened.spec, opened.run_id(rubric_)
    opened = replace(opened, version=_version(ledger, run_id, opened.identified, opened.subject_outline.precision))
    key = opened.harvest_key()[:16]
    if opened.version == EARLIER_VERSION and finished_harvest(artifacts, key) is None:
        raise UsageError(
            f"run {run_id} began with harvest-{key} of an earlier version, which is not in {results / 'artifacts'}: restore it, or"
            " run the spec anew with another --results"
        )
    with locked(results / "artifacts" / f"harvest-{key}.lock", "this harvest"):
        harvest = merge.harvest(opened, artifacts, progress.update)
    del opened
    return stages.open_run(run_id, spec, rubric_, results, harvest)


def checked(spec: Spec, on_progress: OnProgress) -> Identified:
    """The inputs of a spec by content. Raises `UsageError` and `SaeError` for everything wrong with it that is known before its weights
    are read."""
    _check(spec)
    return identify(spec, on_progress)


def _check(spec: Spec) -> None:
    check_judges(spec)
    of_spec.check(spec)


def _finished(
    spec: Spec, rubric_: Rubric, artifacts: Artifacts, progress: Progress, ledger: Ledger | None
) -> tuple[Identified, SharedPlan] | None:
    """The spec's inputs by content and the plan of its harvest, if that is complete and the inputs are known without their weights."""
    if not any(name.endswith(f"/{FILES[-1]}") for name in artifacts.list("harvest-")):
        return None
    identified = identify_unread(spec, progress.update)
    if identified is None:
        return None
    identified = _as_begun(identified, rubric_, ledger)
    version = _version(ledger, identified.run_id(rubric_), identified, precision_of(spec.subject))
    plan = _complete_harvest(identified, artifacts, version)
    return (identified, plan) if plan is not None else None


def _complete_harvest(identified: Identified, artifacts: Artifacts, version: int) -> SharedPlan | None:
    """The plan of a harvest that is finished and has all files that the spec requests beside it; None if anything is missing.

    Raises `UsageError` if the dictionary explains nothing, as `begin_harvest` does, and `SubjectError` if the spec's device is missing.
    """
    key = identified.harvest_key(precision_of(identified.spec.subject), version)[:16]
    if finished_harvest(artifacts, key) is None:
        return None
    plan = read_plan(artifacts, key)
    if not is_complete(identified.spec, artifacts, plan):
        return None
    dictionary_checks.require_fit(identified.spec, plan.check)
    return plan


def _as_begun(inputs: Named, rubric_: Rubric, ledger: Ledger | None) -> Named:
    """The inputs, with the spec of `as_begun`."""
    return replace(inputs, spec=as_begun(inputs.spec, lambda spec: replace(inputs, spec=spec).run_id(rubric_), ledger))


def _version(ledger: Ledger | None, run_id: str, inputs: Identified, precision: str) -> int:
    """The version of the harvest that serves a run: `EARLIER_VERSION` if the run has questions over one of that version, which did not
    record the harvests of runs in one process."""
    if ledger is None:
        return HARVEST_VERSION
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
        if row is None:
            return HARVEST_VERSION
        if not row["harvest_key"] and row["carrier"] == "local":
            earlier = jobs.exists(tx, run_id, ["explain"])
        else:
            earlier = row["harvest_key"] == inputs.harvest_key(precision, EARLIER_VERSION)[:16]
    return EARLIER_VERSION if earlier else HARVEST_VERSION


def harvest_together(specs: Sequence[Spec], results: Path, progress: Progress, ledger: Ledger | None = None) -> None:
    """Harvest all specs; those with the same subject and corpus share one pass over the corpus.

    A spec that cannot be harvested, or whose run began with an earlier version's harvest, is skipped: `prepare` raises its error later.
    """
    opened, passes = InputCache(), dict[str, list[Inputs]]()
    artifacts = Artifacts(results / "artifacts")
    for spec in specs:
        with suppress(*EXPECTED):
            rubric_ = rubric.load(spec.score.rubric)
            if _finished(spec, rubric_, artifacts, progress, ledger) is not None:
                continue
            inputs = _as_begun(opened.inputs(spec, on_progress=progress.update), rubric_, ledger)
            version = _version(ledger, inputs.run_id(rubric_), inputs.identified, inputs.subject_outline.precision)
            if version == EARLIER_VERSION:
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
