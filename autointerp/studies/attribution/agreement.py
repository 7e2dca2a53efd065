"""How well attribution, and activation, agree with ablation over pairs of a feature and a position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

TOP = 10
"""Pairs that are compared with the ten of largest effect, as in the paper."""
DECISIVE = 0.2
"""A correlation that changes this much without one pair says little of the others."""


@dataclass(frozen=True)
class Agreement:
    """Figures of one dictionary. Correlations are Pearson's; None for fewer than three pairs or without variance.

    `top_attribution` of the `top` pairs with the largest attributions are among the `top` with the largest effects of ablation, and
    likewise `top_activation`. Of `active` pairs, `ablated` were ablated.

    `outlier` is the pair without which the correlation with attribution changes most, and `without_outlier` the correlation then; None
    for fewer than four pairs. `ranks` is the rank correlation (Spearman's) of attribution with ablation, which no single pair decides.
    """

    active: int
    ablated: int
    attribution_ablation: float | None
    activation_ablation: float | None
    top: int
    top_attribution: int
    top_activation: int
    ranks: float | None
    outlier: str | None
    without_outlier: float | None

    @property
    def is_decided_by_one(self) -> bool:
        """Whether the correlation with attribution is another one without a single pair."""
        with_, without = self.attribution_ablation, self.without_outlier
        return with_ is not None and without is not None and abs(with_ - without) >= DECISIVE


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
    place, without = _outlier(ablated["attribution"].to_numpy(np.float64), ablated["ablation"].to_numpy(np.float64))
    return Agreement(
        active=active,
        ablated=len(ablated),
        attribution_ablation=_correlation(ablated["attribution"], ablated["ablation"]),
        activation_ablation=_correlation(ablated["activation"], ablated["ablation"]),
        top=top,
        top_attribution=len(largest["attribution"] & largest["ablation"]),
        top_activation=len(largest["activation"] & largest["ablation"]),
        ranks=_correlation(ablated["attribution"].rank(), ablated["ablation"].rank()),
        outlier=None if place is None else f"{ablated['name'].iloc[place]} at {ablated['token'].iloc[place]}",
        without_outlier=without,
    )


def _largest(values: pd.Series[float], n: int) -> set[int]:
    return set(values.sort_values(ascending=False, kind="stable").index[:n])


def _correlation(one: pd.Series[float], other: pd.Series[float]) -> float | None:
    if len(one) < 3 or not np.ptp(one) or not np.ptp(other):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _outlier(one: np.ndarray, other: np.ndarray) -> tuple[int, float] | tuple[None, None]:
    """The place without which Pearson's correlation changes most, and the correlation then; None if there are too few."""
    if len(one) < 4 or not np.ptp(one) or not np.ptp(other):
        return None, None
    x, y, n = one - one.mean(), other - other.mean(), len(one) - 1
    # Without place i, the sum of the centred x is -x[i].
    covariance = x @ y - x * y - x * y / n
    variances = ((values @ values - values**2 - values**2 / n) for values in (x, y))
    product = np.prod(list(variances), axis=0)
    without = np.where(product > 0, covariance / np.sqrt(np.maximum(product, 1e-300)), 0.0)
    place = int(np.abs(without - np.corrcoef(x, y)[0, 1]).argmax())
    return place, float(without[place])
