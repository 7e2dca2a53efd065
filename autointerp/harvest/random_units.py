"""The controls that nobody trained: features of a random dictionary, and the dictionary's own over a random subject.

Made beside the harvest where the spec asks for them, from the whole corpus, and explained and judged like any other unit. Each kind
takes one more pass over the corpus. They stand for the first `MOST` features of the sample.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from autointerp.harvest import sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.hashing import content_hash
from autointerp.progress import Tell
from autointerp.records import KINDS
from autointerp.spec.spec import Spec
from sae.harvest import units as units_
from sae.subject.token_text import token_texts

if TYPE_CHECKING:
    from sae.harvest.harvest import Reading

VERSION = 1
"""Raise it with every change that can alter a random unit or its windows."""
MOST = 32
"""Units of each kind at most."""


def kinds(spec: Spec) -> tuple[str, ...]:
    """Those that the spec asks for."""
    asked = (spec.controls.random_dictionary, spec.controls.random_subject)
    return tuple(kind for kind, wanted in zip(KINDS, asked, strict=True) if wanted and n_units(spec))


def n_units(spec: Spec) -> int:
    """Units of each kind that is asked for."""
    units = spec.units
    return min(MOST, units.features if units.feature_ids is None else len(units.feature_ids))


def file_names(spec: Spec) -> dict[str, tuple[str, str]]:
    """By kind that the spec asks for, the names of the files of its units and of their exemplars.

    All else that decides them has named the harvest's folder.
    """
    key = content_hash([VERSION, MOST])[:12]
    return {kind: (f"{kind}-{key}-units.parquet", f"{kind}-{key}-exemplars.parquet") for kind in kinds(spec)}


def are_there(spec: Spec, artifacts: Artifacts, plan: HarvestPlanFile) -> bool:
    """Whether all that the spec asks for are made."""
    return all(artifacts.exists(plan.name(name)) for names in file_names(spec).values() for name in names)


def make(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> None:
    """Write what is missing beside the harvest, each kind in a pass of its own. Raises `SaeError` as reading a shard does."""
    from sae.harvest.exemplars import tables

    def texts(ids: np.ndarray) -> list[str]:
        return token_texts(inputs.subject.tokenizer, ids.tolist())

    for kind, names in file_names(inputs.spec).items():
        if all(artifacts.exists(plan.name(name)) for name in names):
            continue
        reading = _reading(inputs, plan, kind)
        _read(reading, inputs, plan, partial(tell, f"reading the {kind.replace('_', ' ')}"))
        found = tables(
            reading.sketch,
            inputs.corpus,
            reading.plan.units,
            {kind: inputs.dictionary.hook_point},
            sampling.selection(inputs.spec),
            texts,
        )
        for name, table in zip(names, found, strict=True):
            artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _read(reading: Reading, inputs: Inputs, plan: HarvestPlanFile, tell: partial[None]) -> None:
    """Read the whole corpus, a shard at a time, into one sketch."""
    from sae.harvest import harvest as sae

    done = 0
    for shard in sae.shards(inputs.corpus, plan.shard_tokens, plan.batch_tokens):

        def progress(tokens: int, before: int = done) -> None:
            tell(before + tokens, inputs.corpus.n_tokens)

        sae.read_shard([reading], inputs.corpus, shard, progress)
        done += sae.n_tokens(inputs.corpus, shard)


def _reading(inputs: Inputs, plan: HarvestPlanFile, kind: str) -> Reading:
    from sae.controls import random_weights
    from sae.harvest import harvest as sae

    features = [index for name, index, _ in plan.units if name == "feature"][:MOST]
    wanted = replace(sampling.reading(inputs, plan), units=tuple(units_.UnitKey(kind, index, "") for index in features))
    build = random_weights.of_dictionary if kind == "random_dictionary" else random_weights.of_subject
    reader, limit = build(inputs.subject, inputs.dictionary, inputs.corpus, wanted, plan.norm_limit, features)
    return sae.Reading(reader, wanted, limit, sae.new_sketch(wanted, inputs.subject.device))
