"""Reads off the model's unembedding which tokens the sampled units promote and suppress."""

from __future__ import annotations

from functools import partial

import pandas as pd

from autointerp.harvest import kept_sketches
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.harvest.token_effects import COLUMNS, FILE
from sae.analysis.directions import logit_effects
from sae.harvest.units import UnitKey

TOKENS = 10
"""Tokens kept of each."""


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan) -> None:
    """Write the tokens of all units beside the harvest, and beside the kept sketch, where harvests of the same reading find them.

    That needs no pass over the corpus: it is one product with the unembedding.
    """
    kept = f"{kept_sketches.folder(inputs.reading_key())}/{FILE}"
    if not artifacts.exists(kept):
        artifacts.write(kept, partial(_effects(inputs, plan).to_parquet, index=False))
    artifacts.copy(kept, plan.name(FILE))


def _effects(inputs: Inputs, plan: SharedPlan) -> pd.DataFrame:
    keys = [UnitKey(*unit) for unit in plan.units]
    effects = logit_effects(inputs.subject, inputs.dictionary, keys, TOKENS)
    rows = [
        (key.unit_id, *((list(effect.raised), list(effect.lowered)) if effect else (None, None)))
        for key, effect in zip(keys, effects, strict=True)
    ]
    return pd.DataFrame(rows, columns=["unit_id", *COLUMNS])
