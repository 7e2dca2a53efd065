"""Makes the random-weight controls and directions: features of a random dictionary, the dictionary's own features over a random
subject, basis directions and random directions of the values that the dictionary reads.

They are read from the whole corpus, and explained and judged like any other unit. Each kind takes one more pass over the corpus. The
random-weight controls have the numbers of the sample's first `MAX_RANDOM` features.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from autointerp.harvest import sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.control_units import MAX_RANDOM, names_by_kind
from autointerp.harvest.control_units import random_names as names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from autointerp.records import DIRECTION_KINDS
from sae.controls import directions, random_weights
from sae.harvest import harvest
from sae.harvest.exemplars import tables
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the missing controls beside the harvest, each kind in a pass of its own. Raises `SaeError` as `harvest_shard` does."""
    for kind, files in names_by_kind(inputs.spec).items():
        if all(artifacts.exists(plan.name(name)) for name in files):
            continue
        reading = _reading(inputs, plan, kind)
        _read_corpus(reading, inputs, plan, partial(on_progress, f"reading the {kind.replace('_', ' ')}"))
        unit_and_exemplar_tables = tables(
            reading.sketch,
            inputs.corpus,
            reading.plan.units,
            {kind: inputs.dictionary.hook_point},
            sampling.selection(inputs.spec),
            inputs.token_texts,
        )
        for name, table in zip(files, unit_and_exemplar_tables, strict=True):
            artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _read_corpus(reading: harvest.Reading, inputs: Inputs, plan: SharedPlan, on_progress: partial[None]) -> None:
    """Read the whole corpus, shard by shard, into one sketch."""
    done = 0
    for shard in harvest.shards(inputs.corpus, plan.shard_tokens, plan.batch_tokens):

        def progress(tokens: int, before: int = done) -> None:
            on_progress(before + tokens, inputs.corpus.n_tokens)

        harvest.read_shard([reading], inputs.corpus, shard, progress)
        done += harvest.n_tokens(inputs.corpus, shard)


def _reading(inputs: Inputs, plan: SharedPlan, kind: str) -> harvest.Reading:
    features = [index for name, index, _ in plan.units if name == "feature"][:MAX_RANDOM]
    subject, dictionary, seed = inputs.subject, inputs.dictionary, inputs.spec.units.seed
    if kind in DIRECTION_KINDS:
        units = directions.sample_directions(kind, dictionary.d_in, len(features), seed)
    else:
        units = tuple(UnitKey(kind, index, "") for index in features)
    settings = replace(sampling.harvest_plan(inputs, plan), units=units)
    read = (subject, dictionary, inputs.corpus, settings, plan.norm_limit)
    if kind in DIRECTION_KINDS:
        reader, limit = directions.of_directions(*read, units)
    elif kind == "random_dictionary":
        reader, limit = random_weights.of_dictionary(*read, features)
    else:
        reader, limit = random_weights.of_subject(*read, features)
    return harvest.Reading(reader, settings, limit, harvest.new_sketch(settings, subject.device))
