"""The mean grade of features if their weak activations were rounded to zero.

Scaling Monosemanticity states without figures that this makes weak activations more specific and costs little reconstruction. The
cost is measured over the whole dictionary (`sae.analysis.dictionary_studies`); the specificity is computed here, from grades that
the run already has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from autointerp.records import Arm
from autointerp.stats import comparison, frequency
from autointerp.stats.means import Scale


def specificity(
    judgements: pd.DataFrame,
    exemplars: pd.DataFrame,
    units: pd.DataFrame,
    shares: Sequence[float],
    *,
    bins: int,
    scale: Scale,
    confidence: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """For each share of the maximum, the mean grade of features over activations that exceed it, with its interval over units.

    A unit's mean weights each bin by its counted tokens above the share, so that at 0 it equals `mean_score_frequency`. Units without
    a graded exemplar above the share are left out; `n_units` counts the others.
    """
    items = _items(judgements, exemplars, units.loc[units["kind"] == "feature"])
    rows = units.set_index("unit_id")
    events = dict(zip(units["unit_id"], comparison.event_counts(units, bins), strict=True))
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed, "scale": scale}
    table = []
    for share in shares:
        above = items.loc[items["activation_fraction"] > share]
        of_bin = [above["unit_id"], above["bin"]]
        means = (above["score"] * above["weight"]).groupby(of_bin).sum() / above["weight"].groupby(of_bin).sum()
        values = [
            _weighted_mean(
                cells.droplevel("unit_id"), _events_above(events[str(unit)], rows.at[unit, "histogram"], share)
            )
            for unit, cells in means.groupby(level="unit_id")
        ]
        estimate = comparison.mean_estimate(values, **options)
        table.append(
            {"share": share, "n_units": estimate.n}
            | estimate.model_dump(include={"mean", "ci_low", "ci_high", "why", "freedom"})
        )
    return table


def _items(judgements: pd.DataFrame, exemplars: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """One row per graded exemplar of the main arm, repeats averaged, with its weight as an event of its bin."""
    scored = comparison.scored_rows(judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value])
    scored = scored.loc[scored["unit_id"].isin(features["unit_id"])]
    grades = scored.groupby(["unit_id", "bin", "exemplar_id"])["score"].mean().reset_index()
    fractions = exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")["activation_fraction"]
    weight = frequency.weights(grades["exemplar_id"], exemplars)
    return grades.assign(activation_fraction=grades["exemplar_id"].map(fractions), weight=weight)


def _events_above(events: np.ndarray, histogram: Any, share: float) -> np.ndarray:
    """Counted tokens of each bin whose activation exceeds a share of the maximum.

    The part of a bin that lies above the share is read off the unit's finer histogram, interpolated linearly.
    """
    bins = len(events)
    edges = np.linspace(0, 1, bins + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(np.asarray(histogram, dtype=float))])
    fine_edges = np.linspace(0, 1, len(cumulative))
    above = np.diff(np.interp(np.minimum(np.maximum(edges, share), 1.0), fine_edges, cumulative))
    whole = np.diff(np.interp(edges, fine_edges, cumulative))
    # A bin that the histogram has empty is above the share if its upper edge is.
    share_above = np.divide(above, whole, out=(edges[1:] > share).astype(float), where=whole > 0)
    return np.asarray(events * share_above)


def _weighted_mean(means: pd.Series[float], weights: np.ndarray) -> float:
    """The mean of bin means, indexed by bin from 1, with the weights of these bins; NaN if they are all 0."""
    of_bins = weights[means.index.to_numpy(dtype=int) - 1]
    total = of_bins.sum()
    return float((means.to_numpy() * of_bins).sum() / total) if total > 0 else float("nan")
