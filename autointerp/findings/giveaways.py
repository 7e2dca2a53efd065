"""Measures for every arm and scorer of a run how well its items are told apart by length and place of the mark alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from autointerp.findings.results import Giveaway
from autointerp.records import COMPARED, PLANTED, Arm
from autointerp.stats import giveaways

ARMS = (
    ("base_rate", COMPARED, Arm.BASE_RATE),
    ("planted misses", (PLANTED,), Arm.BASE_RATE),
    ("planted near", (PLANTED,), Arm.NEAR),
)
"""Arms whose items are compared with those of the main arm of the same units: name, kinds of units, arm."""
NAMES = {
    "base_rate": "silent windows, and windows in which the unit is active",
    "planted misses": "planted units: text without a planted word, and with one",
    "planted near": "planted units: the mark beside a planted word, and on it",
}
"""The arms' comparisons in words."""


def of_run(
    judgements: pd.DataFrame, exemplars: pd.DataFrame, shapes: pd.DataFrame, intervals: dict[str, Any]
) -> list[Giveaway]:
    """The balanced accuracy of each comparison that the run makes. `shapes` are those of the scorers' items."""
    tables = [*_arms(judgements, exemplars), *shapes.groupby("scorer", sort=False)]
    return [
        Giveaway(comparison=str(name), balanced_accuracy=giveaways.balanced_accuracy(items, **intervals))
        for name, items in tables
    ]


def _arms(judgements: pd.DataFrame, exemplars: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    judged = judgements.drop_duplicates(["exemplar_id", "unit_id", "arm"])[["exemplar_id", "unit_id", "kind", "arm"]]
    length = exemplars["tokens"].map(len)
    windows = pd.DataFrame(
        {
            "exemplar_id": exemplars["exemplar_id"],
            "length": length,
            "place": exemplars["mark"] / (length - 1).clip(lower=1),
        }
    ).drop_duplicates("exemplar_id")
    items = judged.merge(windows, on="exemplar_id")
    for name, kinds, arm in ARMS:
        compared = items.loc[items["kind"].isin(kinds) & items["arm"].isin([Arm.MAIN.value, arm.value])]
        if (compared["arm"] == arm.value).any():
            yield name, compared.assign(truth=compared["arm"] == Arm.MAIN.value)
