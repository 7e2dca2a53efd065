"""Reads off the model's unembedding which tokens the sampled units promote and suppress."""

from __future__ import annotations

from functools import partial

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.harvest.token_effects import COLUMNS, FILE
from sae.analysis.directions import logit_effects
from sae.harvest.units import UnitKey

TOKENS = 10
"""Tokens kept of each."""


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan) -> None:
    """Write the tokens of all units, which needs no pass over the corpus: it is one product with the unembedding."""
    keys = [UnitKey(*unit) for unit in plan.units]
    effects = logit_effects(inputs.subject, inputs.dictionary, keys, TOKENS)
    rows = [
        (key.unit_id, *((list(effect.raised), list(effect.lowered)) if effect else (None, None)))
        for key, effect in zip(keys, effects, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["unit_id", *COLUMNS])
    artifacts.write(plan.name(FILE), partial(table.to_parquet, index=False))
