"""Why a unit has no explanation or no mean grade: columns of `units.parquet` beside those of the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from autointerp.records import Arm
from autointerp.spec.spec import Spec

STATUSES = {"dead": "never active on the corpus", "barely_active": "active in too few documents to be explained"}
MEANS = {"mean_score": Arm.MAIN, "shuffled_mean": Arm.SHUFFLED, "base_rate_mean": Arm.BASE_RATE}


def with_reasons(units: pd.DataFrame, judgements: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The units with a column `COLUMN_why` for each of their figures that can be null; its value is null if the figure is not.

    `judgements` are those of the run's own judge.
    """
    counts = Counter(zip(judgements["unit_id"].astype(str), judgements["arm"].astype(str), strict=True))
    why: dict[str, list[str | None]] = {f"{name}_why": [] for name in ("explanation", *MEANS, "mean_score_frequency")}
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in units.to_dict("records")]
    for unit in rows:
        unexplained = _unexplained(unit) if pd.isna(unit["explanation"]) else None
        why["explanation_why"].append(unexplained)
        for name, arm in MEANS.items():
            missing = pd.isna(unit[name])
            n_judged = counts[unit["unit_id"], arm.value]
            why[f"{name}_why"].append((unexplained or _ungraded(arm, n_judged, spec)) if missing else None)
        no_events = "no bin with a grade has activations"
        by_events = (why["mean_score_why"][-1] or no_events) if pd.isna(unit["mean_score_frequency"]) else None
        why["mean_score_frequency_why"].append(by_events)
    return units.assign(**{name: pd.array(reasons, dtype="string") for name, reasons in why.items()})


def _unexplained(unit: Mapping[str, Any]) -> str:
    outcome = unit["explanation_outcome"]
    failed = "not explained" if pd.isna(outcome) else f"no explanation: {str(outcome).replace('_', ' ')}"
    return STATUSES.get(str(unit["status"]), failed)


def _ungraded(arm: Arm, n_judged: int, spec: Spec) -> str:
    """Why a unit with an explanation has no grade in an arm."""
    if n_judged:
        return f"all {n_judged} judgements unscored" if n_judged > 1 else "the only judgement is unscored"
    if arm is Arm.SHUFFLED:
        return "no other unit of its kind" if spec.controls.shuffled else "controls.shuffled = 0"
    if arm is Arm.BASE_RATE:
        return "no window in which it is silent" if spec.controls.base_rate else "controls.base_rate = 0"
    return "nothing judged"
