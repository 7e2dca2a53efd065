"""Units that two runs share, by how their grades changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from autointerp.comparisons.pairing import Matched, Side
from autointerp.records import COMPARED, Arm

Change = Literal["higher", "lower", "same grades", "cannot be told", "only in a", "only in b"]

FALSE_SHARE = 0.05
"""Expected share of units called higher or lower of which it is not true (Benjamini and Hochberg 1995)."""
MIN_TEXTS = 3
"""A unit whose exemplars are from fewer texts is not tested."""
COLUMNS = ["a", "b", "unit_id", "kind", "mean_a", "mean_b", "difference", "n_exemplars", "p", "change"]


def table(a: Side, b: Side, matched: Mapping[str, Matched]) -> pd.DataFrame:
    """One row per unit of the kinds that are matched by unit, those that changed most first.

    Columns are those of `COLUMNS` and the explanations in both runs. A unit's difference is the mean over its bins of the differences of its
    exemplars; its test takes exemplars of one text as one observation, and is corrected for the number of units.
    """
    parts = [
        _of_kind(a, b, kind, matched[kind]) for kind in COMPARED if matched[kind].pairing in ("exemplars", "units")
    ]
    if not parts:
        return pd.DataFrame(columns=[*COLUMNS, "explanation_a", "explanation_b"])
    rows = pd.concat(parts, ignore_index=True)
    rows["change"] = _changes(rows)
    texts = [side.first.units.set_index("unit_id")["explanation"] for side in (a, b)]
    rows = rows.assign(a=a.first.run_id, b=b.first.run_id)[COLUMNS]
    rows["explanation_a"], rows["explanation_b"] = (rows["unit_id"].map(text) for text in texts)
    size = rows["difference"].abs().fillna(-1.0)
    return rows.iloc[np.lexsort([rows["unit_id"], -size])].reset_index(drop=True)


def _of_kind(a: Side, b: Side, kind: str, matched: Matched) -> pd.DataFrame:
    (first,), (second,) = matched.items
    sides = [_main(items) for items in (first, second)]
    means = [items.groupby(["unit_id", "bin"])["score"].mean().groupby(level="unit_id").mean() for items in sides]
    rows = pd.DataFrame({"mean_a": means[0], "mean_b": means[1]}).rename_axis("unit_id")
    rows["difference"] = rows["mean_b"] - rows["mean_a"]
    rows["n_exemplars"] = sides[0].groupby("unit_id").size().reindex(rows.index).fillna(0).astype("int64")
    rows["p"] = _tests(*sides).reindex(rows.index) if matched.pairing == "exemplars" else np.nan
    own = [_main(side.first.items) for side in (a, b)]
    for name, items in zip(("mean_a", "mean_b"), own, strict=True):
        graded = items.loc[items["kind"] == kind].groupby(["unit_id", "bin"])["score"].mean().groupby(level=0).mean()
        alone = graded.loc[~graded.index.isin(rows.index)].rename(name).to_frame()
        rows = pd.concat([rows, alone.rename_axis("unit_id")])
    return rows.reset_index().assign(kind=kind)


def _main(items: pd.DataFrame) -> pd.DataFrame:
    return items.loc[items["arm"] == Arm.MAIN.value]


def _tests(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series[float]:
    """By unit, the p value of its mean difference, a t test over the texts of its exemplars; NaN if it has too few texts.

    If all texts have the same difference, it is that of a sign test.
    """
    keys = ["unit_id", "bin", "exemplar_id", "document"]
    items = first.merge(second[[*keys, "score"]], on=keys, suffixes=("_a", "_b"))
    items["d"] = items["score_b"] - items["score_a"]
    in_cell = items.groupby(["unit_id", "bin"])["d"].transform("size")
    items["w"] = 1 / (in_cell * items.groupby("unit_id")["bin"].transform("nunique"))
    mean = (items["d"] * items["w"]).groupby(items["unit_id"]).sum()
    items["r"] = (items["d"] - items["unit_id"].map(mean)) * items["w"]
    texts = items.groupby(["unit_id", "document"])["r"].sum()
    n, squares = (texts.groupby(level="unit_id").size(), (texts**2).groupby(level="unit_id").sum())
    error = np.sqrt(squares * n / (n - 1).clip(lower=1))
    t = (mean / error.where(error > 1e-9)).abs()
    p = pd.Series(2 * stats.t.sf(t, (n - 1).clip(lower=1)), t.index)
    p = p.where(error > 1e-9, np.where(mean.abs() > 1e-9, 0.5 ** (n - 1.0), 1.0))
    return p.where(n >= MIN_TEXTS)


def _changes(rows: pd.DataFrame) -> list[Change]:
    tested = rows["p"].notna()
    corrected = pd.Series(1.0, rows.index)
    if tested.any():
        corrected[tested] = stats.false_discovery_control(rows.loc[tested, "p"])
    changes: list[Change] = []
    for a, b, difference, p in zip(rows["mean_a"], rows["mean_b"], rows["difference"], corrected, strict=True):
        if pd.isna(a) or pd.isna(b):
            changes.append("only in b" if pd.isna(a) else "only in a")
        elif p <= FALSE_SHARE:
            changes.append("higher" if difference > 0 else "lower")
        else:
            changes.append("same grades" if difference == 0 else "cannot be told")
    return changes
