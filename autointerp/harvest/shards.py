"""A harvest that many workers share: a plan, shards in any order and as often as need be, and one merge.

    begin_harvest -> harvest_shard, for each number -> merge_harvest

All three leave files in `harvest-KEY/` of the artifacts, each whole or not at all, and do nothing where their outcome is there.
What could differ between machines, the precision in use and the norm limit, is settled by the plan of whoever comes first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autointerp.errors import UsageError
from autointerp.harvest import dictionary_checks, explainer_windows, planted_units, random_units, sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile, read_plan
from autointerp.progress import Tell, quiet
from autointerp.spec.spec import Spec
from sae import errors
from sae.errors import SaeError
from sae.subject.token_text import token_texts

if TYPE_CHECKING:
    from sae.harvest.harvest import Reading
    from sae.harvest.sketch import Sketch
    from sae.subject.model import Subject

MOST_TOGETHER = 9
"""Dictionaries read in one pass: each keeps its encoders and its sample in memory."""
FILES = ("units.parquet", "exemplars.parquet", "facts.json")
"""What a finished harvest consists of; the last one says that it is finished."""
BESIDE = (dictionary_checks, planted_units, random_units, explainer_windows)
"""What is made beside a finished harvest where a spec asks for it."""


class Interrupted(Exception):
    """A shard was left unread because its worker is to stop."""


@dataclass(frozen=True)
class Part:
    """One dictionary's part in a pass over a shard that several share."""

    inputs: Inputs
    plan: HarvestPlanFile


def harvest(inputs: Inputs, artifacts: Artifacts, tell: Tell, also: Sequence[Inputs] = ()) -> Path:
    """The harvest's folder, as `merge_harvest` leaves it. Made once, then reused; an interrupted one goes on where it stopped.

    The shards of `also`, which share the pass, are read along with its own; each is merged by a call of its own.
    """
    plan = begin_harvest(inputs, artifacts, tell)
    if finished_harvest(artifacts, plan.key) is None:
        others = [Part(other, begin_harvest(other, artifacts, tell)) for other in also]
        for number in range(plan.shards):
            harvest_shard(inputs, artifacts, plan, number, tell, also=others)
    return merge_harvest(inputs, artifacts, plan, tell)


def begin_harvest(inputs: Inputs, artifacts: Artifacts, tell: Tell = quiet) -> HarvestPlanFile:
    """Write the harvest's plan, or read the one that is there.

    Raises `SaeError` where units or countable tokens are missing, `UsageError` where the dictionary explains nothing.
    """
    harvest_key = inputs.harvest_key()
    key = harvest_key[:16]
    if not artifacts.exists(f"harvest-{key}/plan.json"):
        plan = _new_plan(inputs, harvest_key, tell)
        text = json.dumps(asdict(plan), indent=1)
        artifacts.write_once(plan.name("plan.json"), lambda path: _write_text(path, text))
    plan = read_plan(artifacts, key)
    dictionary_checks.insist(inputs.spec, plan.check)
    return plan


def harvest_shard(
    inputs: Inputs,
    artifacts: Artifacts,
    plan: HarvestPlanFile,
    number: int,
    tell: Tell,
    stopping: Callable[[], bool] = lambda: False,
    also: Sequence[Part] = (),
) -> None:
    """Read one shard, for the harvests of `also` too, and write its sketches, each the same as if it were read alone.

    Raises `Interrupted` between batches once `stopping` says so, and leaves nothing then; `UsageError` when the inputs are not
    those of the plan or harvests do not share a pass; `SaeError` when the subject computes no finite values.
    """
    from sae.harvest import harvest as sae

    parts = [part for part in (Part(inputs, plan), *also) if not _is_read(artifacts, part.plan, number)]
    if not parts:
        return
    for part in parts:
        _check(part.inputs, part.plan)
    if {part.plan.pass_key for part in parts} != {plan.pass_key}:
        raise UsageError(f"harvest-{plan.key} shares no pass with all of the others: read them apart")
    shards = sae.shards(inputs.corpus, plan.shard_tokens, plan.batch_tokens)
    before, total = sum(sae.n_tokens(inputs.corpus, s) for s in shards[:number]), inputs.corpus.n_tokens

    def progress(done: int) -> None:
        if stopping():
            raise Interrupted(plan.shard(number))
        tell("harvesting", before + done, total)

    started = time.monotonic()
    readings = [_reading_of(part, inputs.subject) for part in parts]
    sae.read_shard(readings, inputs.corpus, shards[number], progress)
    seconds = (time.monotonic() - started) / len(parts)
    for part, reading in zip(parts, readings, strict=True):
        artifacts.write(part.plan.shard(number), partial(sae.save, sketch=reading.sketch, seconds=seconds))
        if artifacts.exists(part.plan.name(FILES[-1])):  # another worker read it too, and merged meanwhile
            artifacts.remove(part.plan.shard(number))


def _is_read(artifacts: Artifacts, plan: HarvestPlanFile, number: int) -> bool:
    return artifacts.exists(plan.shard(number)) or artifacts.exists(plan.name(FILES[-1]))


def _reading_of(part: Part, subject: Subject) -> Reading:
    from sae.harvest import harvest as sae

    plan = sampling.reading(part.inputs, part.plan)
    reader = sae.UnitReader(subject, part.inputs.dictionary, plan.units)
    return sae.Reading(reader, plan, part.plan.norm_limit, sae.new_sketch(plan, subject.device))


def missing_shards(artifacts: Artifacts, plan: HarvestPlanFile) -> list[int]:
    """Numbers of the shards that are still to be read."""
    present = set(artifacts.list(plan.name("shard-")))
    return [number for number in range(plan.shards) if plan.shard(number) not in present]


def merge_harvest(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> Path:
    """Merge all shards, write the harvest's tables and facts, remove the shards, study the dictionary; returns the folder of `FILES`.

    Only what is missing is done. Raises `UsageError` when a shard is missing or the inputs are not those of the plan, `SaeError`
    when no token was counted.
    """
    if finished_harvest(artifacts, plan.key) is None:
        _merge(inputs, artifacts, plan, tell)
    for beside in BESIDE:
        if not beside.are_there(inputs.spec, artifacts, plan):
            _check(inputs, plan)
            beside.make(inputs, artifacts, plan, tell)
    return _local_folder(artifacts, plan.key)


def _merge(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> None:
    _check(inputs, plan)
    tell("merging the harvest", 0, 0)
    try:
        sketch, seconds = _merged(inputs, artifacts, plan)
    except FileNotFoundError:
        if finished_harvest(artifacts, plan.key):  # another worker merged, and removed the shards
            return
        missing = missing_shards(artifacts, plan)
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise UsageError(
            f"harvest-{plan.key} lacks {len(missing)} of its {plan.shards} shards ({shown}) in {artifacts}: read them first;"
            " all workers must share one folder"
        ) from None
    _write(inputs, artifacts, plan, sketch, seconds)
    for name in artifacts.list(plan.name("shard-")):
        artifacts.remove(name)


def finished_harvest(artifacts: Artifacts, key: str) -> Path | None:
    """The local folder of a finished harvest's `FILES`, fetched if need be; None when it is not finished."""
    return _local_folder(artifacts, key) if artifacts.exists(f"harvest-{key}/{FILES[-1]}") else None


def is_complete(spec: Spec, artifacts: Artifacts, plan: HarvestPlanFile) -> bool:
    """Whether the harvest is finished and the spec's studies, controls and aids are beside it: there is nothing left to merge."""
    beside = all(made.are_there(spec, artifacts, plan) for made in BESIDE)
    return artifacts.exists(plan.name(FILES[-1])) and beside


def _local_folder(artifacts: Artifacts, key: str) -> Path:
    for beside in ("studies-", "planted-", "random_", "aids-"):
        for name in artifacts.list(f"harvest-{key}/{beside}"):
            artifacts.read(name)
    return [artifacts.read(f"harvest-{key}/{file}") for file in FILES][-1].parent


def _new_plan(inputs: Inputs, harvest_key: str, tell: Tell) -> HarvestPlanFile:
    from sae.harvest import harvest as sae

    settings = inputs.spec.harvest
    plan = HarvestPlanFile(
        key=harvest_key[:16],
        harvest_key=harvest_key,
        pass_key=inputs.pass_key(),
        precision=inputs.subject.precision,
        norm_limit=0.0,
        shards=len(sae.shards(inputs.corpus, settings.shard_tokens, settings.batch_tokens)),
        shard_tokens=settings.shard_tokens,
        batch_tokens=settings.batch_tokens,
        units=tuple((unit.kind, unit.index, unit.sign) for unit in inputs.units()),
    )
    reading = sampling.reading(inputs, plan)
    reader = sae.UnitReader(inputs.subject, inputs.dictionary, reading.units)
    limit = sae.norm_limit(reader, inputs.corpus, reading)
    return replace(plan, norm_limit=limit, check=dictionary_checks.measure(inputs, limit, tell))


def _check(inputs: Inputs, plan: HarvestPlanFile) -> None:
    if inputs.harvest_key() != plan.harvest_key:
        raise UsageError(
            f"the inputs here make harvest-{inputs.harvest_key()[:16]}, the plan is harvest-{plan.key}: subject, dictionary,"
            " corpus or precision differ from those that made it; give all machines the same files"
        )


def _merged(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile) -> tuple[Sketch, float]:
    """All shards as one sketch, and the seconds that they took together. Raises `FileNotFoundError`."""
    from sae.harvest import harvest as sae

    reading, device = sampling.reading(inputs, plan), inputs.subject.device
    merged, seconds = sae.new_sketch(reading, device), 0.0
    for number in range(plan.shards):
        shard, took = sae.restore(artifacts.read(plan.shard(number)), reading, device)
        merged.merge(shard)
        seconds += took
    if not merged.n_counted:
        raise SaeError(errors.NOTHING_COUNTED)
    return merged, seconds


def _write(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, sketch: Sketch, seconds: float) -> None:
    from sae.harvest.exemplars import tables

    def texts(ids: np.ndarray) -> list[str]:
        return token_texts(inputs.subject.tokenizer, ids.tolist())

    units, reads = sampling.reading(inputs, plan).units, inputs.dictionary.hook_point
    neurons_at = inputs.subject.neuron_hook_point(reads)
    hook_points = {"feature": reads, "neuron": neurons_at}
    for name, table in zip(
        FILES, tables(sketch, inputs.corpus, units, hook_points, sampling.selection(inputs.spec), texts), strict=False
    ):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
    facts = _facts(inputs, neurons_at) | {"check": plan.check, "n_counted": sketch.n_counted, "harvest_s": seconds}
    facts["norm_limit"] = plan.norm_limit
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    artifacts.write(plan.name(FILES[-1]), lambda path: _write_text(path, text))


def _facts(inputs: Inputs, neuron_hook_point: str) -> dict[str, Any]:
    subject, dictionary, corpus = inputs.subject, inputs.dictionary, inputs.corpus
    return {
        "subject": {"name": subject.name, "fingerprint": subject.fingerprint, "precision": subject.precision},
        "dictionary": {
            "name": Path(dictionary.path).name,
            "format": dictionary.format,
            "architecture": dictionary.architecture,
            "d_in": dictionary.d_in,
            "d_sae": dictionary.d_sae,
            "fingerprint": dictionary.fingerprint,
        },
        "hook_point": dictionary.hook_point,
        "neuron_hook_point": neuron_hook_point,
        "corpus": {
            "sources": [s if s.startswith("datasets:") else Path(s).name for s in inputs.spec.corpus.sources],
            "n_documents": corpus.n_documents,
            "n_contexts": len(corpus.contexts),
            "n_tokens": corpus.n_tokens,
            "fingerprint": corpus.fingerprint,
        },
    }


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
