"""How well attribution, and activation, agree with ablation over pairs of a feature and a position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

TOP = 10
"""Pairs that are compared with the ten of largest effect, as in the paper."""


@dataclass(frozen=True)
class Agreement:
    """Figures of one dictionary. Correlations are Pearson's; None for fewer than three pairs or without variance.

    `top_attribution` of the `top` pairs with the largest attributions are among the `top` with the largest effects of ablation, and
    likewise `top_activation`. Of `active` pairs, `ablated` were ablated.
    """

    active: int
    ablated: int
    attribution_ablation: float | None
    activation_ablation: float | None
    top: int
    top_attribution: int
    top_activation: int


def chosen(pairs: pd.DataFrame, n: int) -> pd.DataFrame:
    """The n pairs to ablate: half of them with the largest absolute attributions, and of the others those with the largest
    activations."""
    by_attribution = pairs["attribution"].abs().sort_values(ascending=False, kind="stable").index
    first = by_attribution[: n - n // 2]
    others = pairs["activation"].drop(first).sort_values(ascending=False, kind="stable").index
    return pairs.loc[first.union(others[: n // 2])]


def of(ablated: pd.DataFrame, active: int) -> Agreement:
    """The agreement over the ablated pairs."""
    top = min(TOP, len(ablated))
    largest = {name: _largest(ablated[name], top) for name in ("ablation", "attribution", "activation")}
    return Agreement(
        active=active,
        ablated=len(ablated),
        attribution_ablation=_correlation(ablated["attribution"], ablated["ablation"]),
        activation_ablation=_correlation(ablated["activation"], ablated["ablation"]),
        top=top,
        top_attribution=len(largest["attribution"] & largest["ablation"]),
        top_activation=len(largest["activation"] & largest["ablation"]),
    )


def _largest(values: pd.Series[float], n: int) -> set[int]:
    return set(values.sort_values(ascending=False, kind="stable").index[:n])


def _correlation(one: pd.Series[float], other: pd.Series[float]) -> float | None:
    if len(one) < 3 or not np.ptp(one) or not np.ptp(other):
        return None
    return float(np.corrcoef(one, other)[0, 1])
