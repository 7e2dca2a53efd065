"""Makes the random-weight controls and directions: features of a random dictionary, the dictionary's own features over a random
subject, basis directions and random directions of the values that the dictionary reads.

They are explained and judged like any other unit. Each kind takes one more pass over the corpus, or over the part of it that its `Form`
states, unless it was read along with a harvest in one shard: see `begin_along`. Like a shard, the pass has checkpoints, and its sketch is
kept. The random-weight controls have the numbers of the sample's first features.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pandas as pd

from autointerp.harvest import kept_sketches, sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.checkpoints import BegunReading, Checkpoint, read_pass
from autointerp.harvest.control_units import Form, absence_name, names_by_kind, random_forms
from autointerp.harvest.control_units import random_names as names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.kept_sketches import KeptSketch
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from autointerp.records import DIRECTION_KINDS
from sae.controls import directions, random_weights
from sae.errors import SaeError
from sae.harvest import harvest
from sae.harvest.exemplars import tables
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

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
            unit_and_exemplar_tables = _tables(inputs, artifacts, plan, kind, form, on_progress)
        except SaeError as error:
            if not form.optional:
                raise
            on_progress(f"no {kind.replace('_', ' ')}: {error}", 0, 0)
            artifacts.write_text(plan.name(absence_name(kind, form)), json.dumps(str(error)))
            unit_and_exemplar_tables = pd.DataFrame(), pd.DataFrame()
        for name, table in zip(files, unit_and_exemplar_tables, strict=True):
            artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _tables(
    inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, kind: str, form: Form, on_progress: OnProgress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The units of a kind and their exemplars, from a kept sketch if there is one."""
    keys, quota = _keys(inputs, plan, kind, form), sampling.drawn_quota(inputs.spec)
    kept = _kept(inputs, artifacts, plan, kind, form) or _read(inputs, artifacts, plan, kind, form, on_progress)
    settings = replace(sampling.harvest_plan(inputs, plan, quota), units=keys)
    sketch, _ = harvest.restore(artifacts.read(kept.name), settings, "cpu")
    selection = sampling.selection(inputs.spec)
    return tables(
        sketch,
        inputs.corpus,
        keys,
        {kind: inputs.dictionary_outline.hook_point},
        replace(selection, per_bin=min(selection.per_bin, form.per_bin or selection.per_bin)),
        inputs.token_texts,
    )


def begin_along(
    inputs: Inputs, subject: Subject, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress
) -> list[BegunReading[KeptSketch]]:
    """The readings of missing kinds that share the pass of the harvest's only shard, because they read all of it from the same subject.

    None for a harvest of several shards. A kind that cannot be made is left to `make`. `subject` is the one that is run in
    the pass.
    """
    if plan.shards > 1:
        return []
    begun = []
    for kind, form in random_forms(inputs.spec).items():
        if kind == "random_subject" or _is_partial(form, inputs) or _kept(inputs, artifacts, plan, kind, form):
            continue
        with suppress(SaeError):
            begun.append(_begin(inputs, subject, artifacts, plan, kind, form, on_progress))
    return begun


def _is_partial(form: Form, inputs: Inputs) -> bool:
    return form.tokens is not None and form.tokens < inputs.corpus.n_tokens


def _kept(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, kind: str, form: Form) -> KeptSketch | None:
    quota = sampling.drawn_quota(inputs.spec)
    return kept_sketches.find(artifacts, inputs.reading_key(), f"{kind}-{form.key}", quota, plan.norm_limit)


def _begin(
    inputs: Inputs,
    subject: Subject,
    artifacts: Artifacts,
    plan: SharedPlan,
    kind: str,
    form: Form,
    on_progress: OnProgress,
) -> BegunReading[KeptSketch]:
    """The reading of a kind, from its checkpoint on if there is one."""
    name, keys = f"{kind}-{form.key}", _keys(inputs, plan, kind, form)
    settings = replace(sampling.harvest_plan(inputs, plan), units=keys)
    reader, limit = _source(inputs, subject, plan, kind, settings)
    place, identity = (plan.name(f"{name}-checkpoint"), _title(kind)), [plan.harvest_key, limit, plan.batch_tokens]
    checkpoint = Checkpoint(artifacts, *place, identity, settings, subject.device, on_progress)
    reading = harvest.Reading(reader, settings, limit, checkpoint.sketch, checkpoint.tokens)
    store = partial(kept_sketches.keep, artifacts, inputs.reading_key(), name, plan, reading.sketch)
    return BegunReading(reading, checkpoint, store)


def _read(
    inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, kind: str, form: Form, on_progress: OnProgress
) -> KeptSketch:
    """Read the corpus, or contexts of about `form.tokens` tokens drawn by the seed, and keep the sketch."""
    corpus = inputs.corpus
    begun = _begin(inputs, inputs.subject, artifacts, plan, kind, form, on_progress)
    shards = harvest.shards(corpus, plan.shard_tokens, plan.batch_tokens)
    if form.tokens is not None and _is_partial(form, inputs):
        shards = [harvest.drawn_shard(corpus, form.tokens, plan.batch_tokens, begun.reading.plan.seed)]
    whole = [rows for shard in shards for rows in shard]
    total = harvest.n_tokens(corpus, whole)
    return read_pass([begun], corpus, whole, lambda done: on_progress(f"reading {_title(kind)}", done, total))[0]


def _title(kind: str) -> str:
    return kind.replace("_", " ")


def _keys(inputs: Inputs, plan: SharedPlan, kind: str, form: Form) -> tuple[UnitKey, ...]:
    features = [index for name, index, _ in plan.units if name == "feature"][: form.units]
    if kind in DIRECTION_KINDS:
        return directions.sample_directions(kind, inputs.dictionary_outline.d_in, len(features), inputs.spec.units.seed)
    return tuple(UnitKey(kind, index, "") for index in features)


def _source(
    inputs: Inputs, subject: Subject, plan: SharedPlan, kind: str, settings: harvest.HarvestPlan
) -> random_weights.UnitSource:
    """What reads the units of a kind, and the norm limit of a counted token."""
    read = (subject, inputs.dictionary, inputs.corpus, settings, plan.norm_limit)
    if kind in DIRECTION_KINDS:
        return directions.of_directions(*read, settings.units)
    features = [unit.index for unit in settings.units]
    make = random_weights.of_dictionary if kind == "random_dictionary" else random_weights.of_subject
    return make(*read, features)
