"""A harvest that several workers share: its plan, and its shards, which may be read in any order and more than once.

    begin_harvest -> harvest_shard, for each number -> merge.merge_harvest

Each step writes files to `harvest-KEY/` of the artifacts, whole or not at all, and does nothing if its files exist. Values that could
differ between machines, the precision and the norm limit, are fixed by the first worker's plan. While a shard is read, its checkpoints
stand beside the shards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from autointerp.errors import UsageError
from autointerp.harvest import dictionary_checks, kept_sketches, sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.checkpoints import BegunReading, Checkpoint, read_pass
from autointerp.harvest.finished import FILES
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.kept_sketches import KeptSketch
from autointerp.harvest.makers import random_units
from autointerp.harvest.makers.dictionary_checks import measure_fit
from autointerp.harvest.plan import SharedPlan, read_plan
from autointerp.progress import OnProgress, quiet
from sae.harvest import harvest
from sae.subject.model import Subject


@dataclass(frozen=True)
class PlannedInputs:
    """Inputs with the plan of their harvest: one dictionary's part in a pass that several share."""

    inputs: Inputs
    plan: SharedPlan


def begin_harvest(inputs: Inputs, artifacts: Artifacts, on_progress: OnProgress = quiet) -> SharedPlan:
    """Write the harvest's plan, or read the existing one. No shard need be read if a kept sketch has all events: see `kept_sketch`.

    Raises `SaeError` if units or countable tokens are missing, `UsageError` if the dictionary explains nothing.
    """
    harvest_key = inputs.harvest_key()
    key = harvest_key[:16]
    if not artifacts.exists(f"harvest-{key}/plan.json"):
        plan = _new_plan(inputs, artifacts, harvest_key, on_progress)
        text = json.dumps(asdict(plan), indent=1)
        artifacts.write_once(plan.name("plan.json"), lambda path: path.write_text(text, encoding="utf-8"))
    plan = read_plan(artifacts, key)
    dictionary_checks.require_fit(inputs.spec, plan.check)
    return plan


def harvest_shard(
    inputs: Inputs,
    artifacts: Artifacts,
    plan: SharedPlan,
    number: int,
    on_progress: OnProgress,
    stopping: Callable[[], bool] = lambda: False,
    also: Sequence[PlannedInputs] = (),
) -> None:
    """Read one shard, for the harvests of `also` in the same pass, and write their sketches, each the same as if read alone.

    Controls that read the same text from the same subject share the pass of a harvest's only shard. Continues from checkpoints, and
    writes them. Raises `Interrupted` between batches once `stopping` returns True, after a last checkpoint; `UsageError` if the inputs
    are not those of the plan or the harvests do not share a pass; `SaeError` if the subject computes values that are not finite.
    """
    parts = [part for part in (PlannedInputs(inputs, plan), *also) if not _is_read(artifacts, part, number)]
    if not parts:
        return
    for part in parts:
        check_inputs(part.inputs, part.plan)
    if {part.plan.pass_key for part in parts} != {plan.pass_key}:
        raise UsageError(f"harvest-{plan.key} does not share a pass with all of the others: read them separately")
    shards = harvest.shards(inputs.corpus, plan.shard_tokens, plan.batch_tokens)
    before, total = sum(harvest.n_tokens(inputs.corpus, s) for s in shards[:number]), inputs.corpus.n_tokens

    begun: list[BegunReading[object]] = []
    for part in parts:
        begun.append(_begin_reading(part, artifacts, number, inputs.subject, on_progress))
        begun += random_units.begin_along(part.inputs, inputs.subject, artifacts, part.plan, on_progress)
    read_pass(
        begun,
        inputs.corpus,
        shards[number],
        lambda done: on_progress("harvesting", before + done, total),
        stopping,
    )


def kept_sketch(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan) -> KeptSketch | None:
    """The kept sketch that has all events of the harvest, so that no shard need be read; None if there is none."""
    quota = sampling.drawn_quota(inputs.spec)
    return kept_sketches.find(artifacts, inputs.reading_key(), kept_sketches.SAMPLED, quota, plan.norm_limit)


def missing_shards(artifacts: Artifacts, plan: SharedPlan) -> list[int]:
    """Numbers of the shards that have not been read yet."""
    present = set(artifacts.list(plan.name("shard-")))
    return [number for number in range(plan.shards) if plan.shard(number) not in present]


def check_inputs(inputs: Inputs, plan: SharedPlan) -> None:
    """Raise `UsageError` if the inputs of this machine are not those of the plan."""
    if inputs.harvest_key() != plan.harvest_key:
        raise UsageError(
            f"the inputs here belong to harvest-{inputs.harvest_key()[:16]}, but the plan is harvest-{plan.key}: subject, dictionary,"
            " corpus or precision differ from those of the plan; give all machines the same files"
        )


def _is_read(artifacts: Artifacts, part: PlannedInputs, number: int) -> bool:
    names = part.plan.shard(number), part.plan.name(FILES[-1])
    return any(map(artifacts.exists, names)) or kept_sketch(part.inputs, artifacts, part.plan) is not None


def _begin_reading(
    part: PlannedInputs, artifacts: Artifacts, number: int, subject: Subject, on_progress: OnProgress
) -> BegunReading[None]:
    """A part's reading of a shard, from the shard's checkpoint on if there is one."""
    plan = sampling.harvest_plan(part.inputs, part.plan)
    reader = harvest.UnitReader(subject, part.inputs.dictionary, plan.units)
    limit = part.plan.norm_limit
    identity = [part.plan.harvest_key, limit, part.plan.shard_tokens, part.plan.batch_tokens]
    place = part.plan.checkpoint(number), f"shard {number}"
    checkpoint = Checkpoint(artifacts, *place, identity, plan, subject.device, on_progress)
    reading = harvest.Reading(reader, plan, limit, checkpoint.sketch, checkpoint.tokens)

    def store(seconds: float) -> None:
        shard = part.plan.shard(number)
        artifacts.write(shard, partial(harvest.save, sketch=reading.sketch, seconds=seconds))
        if artifacts.exists(part.plan.name(FILES[-1])):  # another worker read the shard too, and has merged since
            artifacts.remove(shard)

    return BegunReading(reading, checkpoint, store)


def _new_plan(inputs: Inputs, artifacts: Artifacts, harvest_key: str, on_progress: OnProgress) -> SharedPlan:
    settings = inputs.spec.harvest
    plan = SharedPlan(
        key=harvest_key[:16],
        harvest_key=harvest_key,
        pass_key=inputs.pass_key(),
        precision=inputs.subject_outline.precision,
        norm_limit=0.0,
        shards=len(harvest.shards(inputs.corpus, settings.shard_tokens, settings.batch_tokens)),
        shard_tokens=settings.shard_tokens,
        batch_tokens=settings.batch_tokens,
        units=tuple((unit.kind, unit.index, unit.sign) for unit in inputs.units()),
    )
    quota = sampling.drawn_quota(inputs.spec)
    if kept := kept_sketches.find(artifacts, inputs.reading_key(), kept_sketches.SAMPLED, quota):
        return replace(plan, norm_limit=kept.norm_limit, check=kept.check)
    harvest_plan = sampling.harvest_plan(inputs, plan)
    reader = harvest.UnitReader(inputs.subject, inputs.dictionary, harvest_plan.units)
    limit = harvest.norm_limit(reader, inputs.corpus, harvest_plan)
    return replace(plan, norm_limit=limit, check=measure_fit(inputs, limit, on_progress))
