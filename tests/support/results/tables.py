"""Builders of result tables, with the columns and types of the parquet files of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

BINS = 10


def kind_of(unit_id: str) -> str:
    return unit_id.split("-")[0]


def judgement(
    unit_id: str, bin_: int, score: int | None, *, arm: str = "main", item: int = 0, repeat: int = 0
) -> dict[str, Any]:
    """One row of judgements. A score of None is a refusal; `item` distinguishes exemplars of the same unit and bin."""
    return {
        "exemplar_id": f"{unit_id}/{bin_}/{item}",
        "unit_id": unit_id,
        "kind": kind_of(unit_id),
        "arm": arm,
        "bin": bin_,
        "judge": "openai/gpt-test",
        "repeat": repeat,
        "outcome": "refusal" if score is None else "scored",
        "score": score,
        "reason": "",
        "call_key": None,
        "explanation_unit_id": unit_id,
    }


def judgement_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    columns = list(judgement("feature-0", 1, 0))
    return pd.DataFrame(list(rows), columns=columns).astype({"score": "Int64"})


def unit_table(unit_ids: Sequence[str], **columns: Sequence[Any]) -> pd.DataFrame:
    """Alive, explained units that were active 10 times in each bin, unless `columns` says otherwise."""
    n = len(unit_ids)
    defaults: dict[str, Sequence[Any]] = {
        "unit_id": list(unit_ids),
        "kind": [kind_of(u) for u in unit_ids],
        "status": ["alive"] * n,
        "density": [0.01] * n,
        "explanation": ["names of rivers"] * n,
        "bin_events": [[10] * BINS] * n,
    }
    return pd.DataFrame({**defaults, **columns})


def exemplar_table(quiet: Sequence[Sequence[float]] = ()) -> pd.DataFrame:
    rows = [("score", [0.0, 1.0]), *(("quiet", list(activations)) for activations in quiet)]
    table = pd.DataFrame([{"role": role, "token_activations": a, "counted": [True] * len(a)} for role, a in rows])
    return table.assign(exemplar_id=[f"shown-{i}" for i in range(len(table))], inclusion_probability=math.nan)


def planted(
    *,
    n_features: int = 40,
    n_neurons: int = 40,
    feature_level: float = 0.8,
    neuron_level: float = 0.4,
    per_bin: int = 2,
    unscored: float = 0.0,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Units and judgements of two populations: grades are binomial(3, level of the unit), controls near the floor."""
    rng = np.random.default_rng(seed)
    ids = [f"feature-{i}" for i in range(n_features)] + [f"neuron-{i}+" for i in range(n_neurons)]
    rows = []
    for unit_id in ids:
        level = feature_level if kind_of(unit_id) == "feature" else neuron_level
        level = float(np.clip(level + rng.normal(0, 0.15), 0.02, 0.98))
        arms = [("main", b, level) for b in range(1, BINS + 1)]
        arms += [("shuffled", b, 0.1) for b in (1, 4, 7, 10)] + [("base_rate", 0, 0.05)] * 2
        for n, (arm, bin_, p) in enumerate(arms):
            for item in range(per_bin):
                score = None if rng.random() < unscored else int(rng.binomial(3, p))
                rows.append(judgement(unit_id, bin_, score, arm=arm, item=100 * n + item))
    return unit_table(ids), judgement_table(rows)
