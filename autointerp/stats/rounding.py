"""How specific features would be if their weak activations were rounded to zero.

Scaling Monosemanticity says in words that this improves specificity at the weak end and costs little reconstruction. The second half is
measured over the whole dictionary (`sae.studies`); this is the first, from grades that are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from autointerp.records import Arm
from autointerp.stats import comparison


def specificity(
    judgements: pd.DataFrame,
    exemplars: pd.DataFrame,
    units: pd.DataFrame,
    shares: Sequence[float],
    *,
    bins: int,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """For each share of the maximum, the mean grade of features over the activations that exceed it, with its interval over units.

    A unit's mean weighs each bin by its counted tokens above the share, so that at 0 it is `mean_score_frequency`. Units without a
    graded exemplar above the share are left out, and `n_units` says how many are in.
    """
    items = _items(judgements, exemplars, units.loc[units["kind"] == "feature"])
    rows = units.set_index("unit_id")
    events = dict(zip(units["unit_id"], comparison.event_counts(units, bins), strict=True))
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    found = []
    for share in shares:
        above = items.loc[items["activation_fraction"] > share]
        means = above.groupby(["unit_id", "bin"])["score"].mean()
        values = [
            _weighted(cells.droplevel("unit_id"), _left(events[str(unit)], rows.at[unit, "histogram"], share))
            for unit, cells in means.groupby(level="unit_id")
        ]
        estimate = comparison.mean_estimate(values, **options)
        found.append(
            {"share": share, "mean": estimate.mean, "ci_low": estimate.ci_low}
            | {"ci_high": estimate.ci_high, "n_units": estimate.n}
        )
    return found


def _items(judgements: pd.DataFrame, exemplars: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """A row a graded exemplar of the main arm, its repeats averaged."""
    scored = comparison.scored_rows(judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value])
    scored = scored.loc[scored["unit_id"].isin(features["unit_id"])]
    grades = scored.groupby(["unit_id", "bin", "exemplar_id"])["score"].mean().reset_index()
    fractions = exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")["activation_fraction"]
    return grades.assign(activation_fraction=grades["exemplar_id"].map(fractions))


def _left(events: np.ndarray, histogram: Any, share: float) -> np.ndarray:
    """Counted tokens of each bin whose activation exceeds a share of the maximum; within a bin as the finer histogram has them."""
    bins = len(events)
    edges = np.linspace(0, 1, bins + 1)
    fine = np.concatenate([[0.0], np.cumsum(np.asarray(histogram, dtype=float))])
    below = np.interp(np.minimum(np.maximum(edges, share), 1.0), np.linspace(0, 1, len(fine)), fine)
    whole = np.interp(edges, np.linspace(0, 1, len(fine)), fine)
    inside = np.diff(whole)
    kept = np.divide(np.diff(below), inside, out=(edges[1:] > share).astype(float), where=inside > 0)
    return np.asarray(events * kept)


def _weighted(means: pd.Series[float], weights: np.ndarray) -> float:
    chosen = weights[means.index.to_numpy(dtype=int) - 1]
    total = chosen.sum()
    return float((means.to_numpy() * chosen).sum() / total) if total > 0 else float("nan")
