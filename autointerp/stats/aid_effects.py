"""Effect of explainer aids: grades of explanations made with an aid, minus those of the unit's own on the same exemplars."""

from __future__ import annotations

from typing import Any

import pandas as pd

from autointerp.records import COMPARED, Arm, ExplanationKey
from autointerp.stats import comparison
from autointerp.stats import means as means_of_units
from autointerp.stats.means import Scale


def effects(
    judgements: pd.DataFrame, units: pd.DataFrame, *, scale: Scale, confidence: float, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """By aid, how much higher explanations made with it are graded than those made without it, on the same exemplars.

    `scale` holds the lowest and the highest grade. For all units and for each kind: the mean `difference` over units with its interval, and the mean grades `with` and `without` the
    aid. Exemplars without a grade under either explanation are left out. Repeats are averaged within an exemplar, exemplars within
    a bin and bins within a unit, and intervals are over units. `n_unscored` counts judgements without a grade under the aid's explanation.
    """
    aid = judgements["explanation_unit_id"].map(lambda key: ExplanationKey.parse(str(key)).aid)
    kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
    main = _by_exemplar(judgements.loc[judgements["arm"] == Arm.MAIN.value])
    table: dict[str, dict[str, Any]] = {}
    for name in sorted(set(aid[judgements["arm"] == Arm.VARIANT.value])):
        rows = judgements.loc[(judgements["arm"] == Arm.VARIANT.value) & (aid == name)]
        both = pd.concat({"with": _by_exemplar(rows), "without": main}, axis=1, join="inner")
        means = both.groupby(level=["unit_id", "bin"]).mean().groupby(level="unit_id").mean()
        kind = means.index.map(kinds.get)
        unscored = int((~rows["score"].notna()).sum())
        options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
        options["scale"] = means_of_units.of_differences(scale)
        groups = {"all": means, **{k: means.loc[kind == k] for k in COMPARED}}
        table[name] = {group: _effect(some, **options) for group, some in groups.items()} | {"n_unscored": unscored}
    return table


def _by_exemplar(judgements: pd.DataFrame) -> pd.Series[float]:
    keys = ["unit_id", "bin", "exemplar_id"]
    means: pd.Series[float] = comparison.scored_rows(judgements).groupby(keys)["score"].mean()
    return means


def _effect(means: pd.DataFrame, **options: Any) -> dict[str, float | int | str | None]:
    estimate = comparison.mean_estimate(means["with"] - means["without"], **options)
    return {
        "difference": estimate.mean,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "why": estimate.why,
        "n_units": estimate.n,
        **{name: float(means[name].mean()) if len(means) else None for name in ("with", "without")},
    }
