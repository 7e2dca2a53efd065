"""Makes the random-weight controls and directions: features of a random dictionary, the dictionary's own features over a random
subject, basis directions and random directions of the values that the dictionary reads.

They are explained and judged like any other unit. Each kind takes one more pass over the corpus, or over the part of it that its `Form`
states. The random-weight controls have the numbers of the sample's first features.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pandas as pd

from autointerp.harvest import sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.control_units import Form, absence_name, names_by_kind, random_forms
from autointerp.harvest.control_units import random_names as names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from autointerp.records import DIRECTION_KINDS
from sae.controls import directions, random_weights
from sae.errors import SaeError
from sae.harvest import harvest
from sae.harvest.exemplars import tables
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the missing controls beside the harvest, each kind in a pass of its own.

    Raises `SaeError` as `harvest_shard` does. A kind in an optional form is left out instead, and the reason written.
    """
    forms = random_forms(inputs.spec)
    for kind, files in names_by_kind(inputs.spec).items():
        if all(artifacts.exists(plan.name(name)) for name in files):
            continue
        form = forms[kind]
        try:
            unit_and_exemplar_tables = _tables(inputs, plan, kind, form, on_progress)
        except SaeError as error:
            if not form.optional:
                raise
            on_progress(f"no {kind.replace('_', ' ')}: {error}", 0, 0)
            artifacts.write_text(plan.name(absence_name(kind, form)), json.dumps(str(error)))
            unit_and_exemplar_tables = pd.DataFrame(), pd.DataFrame()
        for name, table in zip(files, unit_and_exemplar_tables, strict=True):
            artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _tables(
    inputs: Inputs, plan: SharedPlan, kind: str, form: Form, on_progress: OnProgress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The units of a kind and their exemplars."""
    reading = _reading(inputs, plan, kind, form)
    _read_corpus(reading, inputs, plan, form.tokens, partial(on_progress, f"reading {kind.replace('_', ' ')}"))
    selection = sampling.selection(inputs.spec)
    return tables(
        reading.sketch,
        inputs.corpus,
        reading.plan.units,
        {kind: inputs.dictionary.hook_point},
        replace(selection, per_bin=min(selection.per_bin, form.per_bin or selection.per_bin)),
        inputs.token_texts,
    )


def _read_corpus(
    reading: harvest.Reading, inputs: Inputs, plan: SharedPlan, most: int | None, on_progress: partial[None]
) -> None:
    """Read the corpus, or contexts of about `most` tokens drawn by the seed, shard by shard into one sketch."""
    corpus, done = inputs.corpus, 0
    shards = harvest.shards(corpus, plan.shard_tokens, plan.batch_tokens)
    if most is not None and most < corpus.n_tokens:
        shards = [harvest.drawn_shard(corpus, most, plan.batch_tokens, reading.plan.seed)]
    total = sum(harvest.n_tokens(corpus, shard) for shard in shards)
    for shard in shards:

        def progress(tokens: int, before: int = done) -> None:
            on_progress(before + tokens, total)

        harvest.read_shard([reading], corpus, shard, progress)
        done += harvest.n_tokens(corpus, shard)


def _reading(inputs: Inputs, plan: SharedPlan, kind: str, form: Form) -> harvest.Reading:
    features = [index for name, index, _ in plan.units if name == "feature"][: form.units]
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
