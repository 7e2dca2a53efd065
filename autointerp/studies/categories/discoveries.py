"""Features that are more active on the probe texts of a category than on its controls.

Each feature's maxima over the texts are compared by a rank-sum test, and within each category the false discovery rate is controlled
(Benjamini and Hochberg 1995). Features that fire in too few texts to be found whatever their order are not tested.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autointerp.studies.categories import rank_sums
from autointerp.studies.categories.probe_lists import Category
from sae.dictionary import Dictionary
from sae.studies.readings import TextValues, readings

SMALLEST_P = 0.001
"""Features that cannot have a p as small as this, because they fire in too few texts, are not tested."""


def tested(dictionary: Dictionary, values: TextValues, chosen: tuple[Category, ...]) -> pd.DataFrame:
    """The tests of all features in each category, whose texts follow each other in `values`: columns `category` and those of `compared`."""
    parts = []
    for chunk in readings(dictionary, values):
        maximum, first = chunk.maximum.numpy(), 0
        for each in chosen:
            n, m = len(each.probes), len(each.controls)
            table = compared(maximum[first : first + n], maximum[first + n : first + n + m])
            first += n + m
            parts.append(table.assign(feature=table["feature"] + chunk.start, category=each.name))
    return pd.concat(parts, ignore_index=True).astype({"category": "str", "feature": "int64"})


def compared(probes: NDArray[np.floating], controls: NDArray[np.floating]) -> pd.DataFrame:
    """A row for each feature that is tested, from the maxima of d features in n probes (n, d) and m controls (m, d).

    Columns: `feature`, `auroc`, `p`, `mean_probe` and `mean_control`, means of the maxima.
    """
    n, m = len(probes), len(controls)
    values = np.concatenate([probes, controls])
    least = max(SMALLEST_P, float(rank_sums.smallest_p(np.array([n]), n, m)[0]))
    columns = np.flatnonzero(rank_sums.smallest_p((values > 0).sum(axis=0), n, m) <= least)
    auroc, p = rank_sums.higher(values[:, columns], np.arange(n + m) < n)
    means = {"mean_probe": probes[:, columns].mean(axis=0), "mean_control": controls[:, columns].mean(axis=0)}
    return pd.DataFrame({"feature": columns, "auroc": auroc, "p": p, **means})


def discovered(tests: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """The tests with a false discovery rate `q` of at most `fdr` within their category, by category, the smallest p first."""
    if tests.empty:
        return tests.assign(q=np.zeros(0))
    q = tests.groupby("category", sort=False)["p"].transform(lambda p: stats.false_discovery_control(p))
    order = {name: place for place, name in enumerate(dict.fromkeys(tests["category"]))}
    found = tests.assign(q=q, order=tests["category"].map(order), contrast=tests["mean_probe"] - tests["mean_control"])
    found = found[found["q"] <= fdr]
    return found.sort_values(
        ["order", "p", "contrast"], ascending=[True, True, False], kind="stable", ignore_index=True
    ).drop(columns=["order", "contrast"])
