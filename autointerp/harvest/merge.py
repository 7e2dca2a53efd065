"""Merges the shards of a harvest into its tables, and makes its side files. `harvest` does every step in one process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from autointerp.errors import UsageError
from autointerp.harvest import kept_sketches, sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import FILES, finished_harvest, local_folder
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.kept_sketches import KeptSketch
from autointerp.harvest.makers import (
    dictionary_checks,
    explainer_windows,
    neighbour_windows,
    planted_units,
    random_units,
    token_effects,
    unit_sides,
)
from autointerp.harvest.plan import SharedPlan
from autointerp.harvest.shards import (
    PlannedInputs,
    begin_harvest,
    check_inputs,
    harvest_shard,
    kept_sketch,
    missing_shards,
)
from autointerp.progress import OnProgress
from autointerp.spec.spec import Spec
from sae.errors import NOTHING_COUNTED, SaeError
from sae.harvest.exemplars import tables
from sae.harvest.harvest import new_sketch, restore, saved_quota
from sae.harvest.sketch import Quota, Sketch
from sae.subject.capacity import n_token_ids


class SideFileMaker(Protocol):
    """A module that makes files beside a finished harvest."""

    def names(self, spec: Spec) -> tuple[str, ...]:
        """Names of the files that the spec requests; empty if it requests none."""

    def make(self, inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
        """Write the files of `names` that are missing."""


MAKERS: tuple[SideFileMaker, ...] = (
    dictionary_checks,
    planted_units,
    random_units,
    explainer_windows,
    neighbour_windows,
    unit_sides,
)


def harvest(inputs: Inputs, artifacts: Artifacts, on_progress: OnProgress, also: Sequence[Inputs] = ()) -> Path:
    """Make the harvest, or reuse it if it exists, and return its folder. An interrupted harvest continues where it stopped.

    The shards of `also`, harvests with the same pass key, are read in the same pass; to merge them, call this for each of them.
    """
    plan = begin_harvest(inputs, artifacts, on_progress)
    if finished_harvest(artifacts, plan.key) is None:
        others = [PlannedInputs(other, begin_harvest(other, artifacts, on_progress)) for other in also]
        own = PlannedInputs(inputs, plan)
        others = [other for other in others if not _serves(own, other)]
        for number in range(plan.shards):
            harvest_shard(inputs, artifacts, plan, number, on_progress, also=others)
    return merge_harvest(inputs, artifacts, plan, on_progress)


def _serves(one: PlannedInputs, other: PlannedInputs) -> bool:
    """Whether the sketch of one harvest will have all events of the other."""
    same = one.inputs.reading_key() == other.inputs.reading_key() and one.plan.norm_limit == other.plan.norm_limit
    kept = sampling.kept_quota(one.inputs.spec, len(one.plan.units))
    drawn = sampling.drawn_quota(other.inputs.spec)
    return same and all(a >= b for a, b in zip(astuple(kept), astuple(drawn), strict=True))


def merge_harvest(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> Path:
    """Merge all shards, write the harvest's tables and facts, remove the shards, and make the side files. Returns the folder.

    Does only what is missing. Raises `UsageError` if a shard is missing or the inputs are not those of the plan, `SaeError` if no
    token was counted.
    """
    if finished_harvest(artifacts, plan.key) is None:
        _merge(inputs, artifacts, plan, on_progress)
    for maker in MAKERS:
        if not all(artifacts.exists(plan.name(name)) for name in maker.names(inputs.spec)):
            check_inputs(inputs, plan)
            maker.make(inputs, artifacts, plan, on_progress)
    return local_folder(artifacts, plan.key)


def _merge(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    check_inputs(inputs, plan)
    on_progress("merging the harvest", 0, 0)
    try:
        kept = kept_sketch(inputs, artifacts, plan) or _keep_merged(inputs, artifacts, plan)
    except FileNotFoundError:
        if finished_harvest(artifacts, plan.key):  # another worker has merged them and removed the shards
            return
        missing = missing_shards(artifacts, plan)
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise UsageError(
            f"harvest-{plan.key} lacks {len(missing)} of its {plan.shards} shards ({shown}) in {artifacts}: read them first;"
            " all workers must share one folder"
        ) from None
    settings = sampling.harvest_plan(inputs, plan, sampling.drawn_quota(inputs.spec))
    _write(inputs, artifacts, plan, *restore(artifacts.read(kept.name), settings, "cpu"))
    for name in (*artifacts.list(plan.name("shard-")), *artifacts.list(plan.name("checkpoint-"))):
        artifacts.remove(name)


def _keep_merged(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan) -> KeptSketch:
    """Merge all shards into a sketch that is kept."""
    sketch, seconds = merge_shards(inputs, artifacts, plan)
    reading_key = inputs.reading_key()
    return kept_sketches.keep(artifacts, reading_key, kept_sketches.SAMPLED, plan, sketch, seconds)


def merge_shards(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan) -> tuple[Sketch, float]:
    """All shards as one sketch, and the seconds that reading them took.

    Raises `FileNotFoundError` if a shard is missing, `SaeError` if no token was counted.
    """
    paths = [artifacts.read(plan.shard(number)) for number in range(plan.shards)]
    # A version that kept no more events than are drawn did not state the quotas of its shards.
    quotas = [astuple(saved_quota(path) or sampling.drawn_quota(inputs.spec)) for path in paths]
    settings = sampling.harvest_plan(inputs, plan, Quota(*map(min, zip(*quotas, strict=True))))
    device, seconds = inputs.subject.device, 0.0
    sketch = new_sketch(settings, device)
    for path in paths:
        shard, shard_seconds = restore(path, settings, device)
        sketch.merge(shard)
        seconds += shard_seconds
    if not sketch.n_counted:
        raise SaeError(NOTHING_COUNTED)
    return sketch, seconds


def _write(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, sketch: Sketch, seconds: float) -> None:
    units, hook_point = sampling.harvest_plan(inputs, plan).units, inputs.dictionary_outline.hook_point
    neuron_hook_point = inputs.subject_outline.neuron_hook_point(hook_point)
    hook_points = {"feature": hook_point, "neuron": neuron_hook_point}
    selection = sampling.selection(inputs.spec)
    unit_and_exemplar_tables = tables(sketch, inputs.corpus, units, hook_points, selection, inputs.token_texts)
    for name, table in zip(FILES, unit_and_exemplar_tables, strict=False):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
    token_effects.make(inputs, artifacts, plan)
    facts = _facts(inputs, neuron_hook_point)
    facts |= {"check": plan.check, "n_counted": sketch.n_counted, "harvest_s": seconds}
    facts["norm_limit"] = plan.norm_limit
    artifacts.write_text(plan.name(FILES[-1]), json.dumps(facts, indent=1, ensure_ascii=False))


def _facts(inputs: Inputs, neuron_hook_point: str) -> dict[str, Any]:
    subject, dictionary, corpus = inputs.subject_outline, inputs.dictionary_outline, inputs.corpus
    return {
        "subject": {
            "name": subject.name,
            "fingerprint": subject.fingerprint,
            "precision": subject.precision,
            "n_tokens": len(subject.tokenizer),
            "n_embeddings": n_token_ids(subject),
        },
        "dictionary": {
            "name": Path(dictionary.path).name,
            "format": dictionary.format,
            "architecture": dictionary.architecture,
            "d_in": dictionary.d_in,
            "d_sae": dictionary.d_sae,
            "fingerprint": dictionary.fingerprint,
            "trained_with_bos": dictionary.trained_with_bos,
            "trained_context": dictionary.trained_context,
        },
        "hook_point": dictionary.hook_point,
        "neuron_hook_point": neuron_hook_point,
        "corpus": {
            "sources": [s if s.startswith("datasets:") else Path(s).name for s in inputs.spec.corpus.sources],
            "n_documents": corpus.n_documents,
            "contents": corpus.contents._asdict(),
            "contents_statement": corpus.contents.statement,
            "n_contexts": len(corpus.contexts),
            "n_tokens": corpus.n_tokens,
            "fingerprint": corpus.fingerprint,
            "context_tokens": inputs.spec.corpus.context_tokens,
            "bos": corpus.bos_id is not None,
            "bos_statement": subject.bos.statement,
        },
    }
