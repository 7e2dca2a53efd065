"""What the verdict is worth: the judge measured on what is known, against itself, against others, and against people.

Everything here stands in `summary.json` under `evidence`, beside the result that it qualifies. What could not be measured is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from autointerp import records
from autointerp.findings.headline import separates
from autointerp.findings.tables import Frames
from autointerp.records import COMPARED, Arm
from autointerp.spec.spec import Spec
from autointerp.stats import agreement, comparison, prediction_powered
from autointerp.stats.comparison import options

RIGHT = {Arm.MAIN: "hits", Arm.NEAR: "near", Arm.BASE_RATE: "misses"}
"""What the arms of a planted unit are: its words marked, a word beside them marked, or a text without them."""


def of_run(
    frames: Frames, spec: Spec, grades: Sequence[int], again: pd.DataFrame | None, labels: pd.DataFrame | None
) -> dict[str, Any]:
    """`gather` for a run's tables."""
    units = frames.units.sort_values("unit_id", ignore_index=True)
    return gather(frames.main, units, again, labels, grades=grades, options=options(spec), second=frames.second)


def gather(
    judgements: pd.DataFrame,
    units: pd.DataFrame,
    again: pd.DataFrame | None,
    labels: pd.DataFrame | None,
    *,
    grades: Sequence[int],
    options: Mapping[str, Any],
    second: str | None = None,
) -> dict[str, Any]:
    """All evidence. `judgements` are the judge's, controls among them; `again` the second judge's, with stratum and probability
    of each item; `labels` people's, a row an item of their sample and rater. `options`: confidence, resamples, seed.
    """
    found_planted = planted(judgements, grades, options)
    return {
        "planted": found_planted,
        "normalised": normalised(judgements, units, options) if found_planted else None,
        "repeats": repeats(judgements, options),
        "random": untrained(judgements, units, options),
        "second": None if again is None or second is None else other(judgements, again, units, second, grades, options),
        "people": None if labels is None else people(judgements, labels, units, grades, options),
    }


def planted(judgements: pd.DataFrame, grades: Sequence[int], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The judge on planted units: mean grade of hits, near ones and misses, what it gave to each, and how far it tells them apart.

    `right` is the share of hits in the upper half of the scale and of misses in the lower half. `separation` is hits minus misses
    within a unit, over units. An item counts once, however often it was graded. None where nothing was planted.
    """
    rows = comparison.scored_rows(judgements.loc[judgements["kind"] == "planted"])
    rows = rows.loc[rows["arm"].isin([arm.value for arm in RIGHT]) & (rows["repeat"] == 0)]
    if rows.empty:
        return None
    means = rows.groupby(["unit_id", "arm"])["score"].mean().unstack()
    result: dict[str, Any] = {"n_units": int(rows["unit_id"].nunique())}
    for arm, name in RIGHT.items():
        given = rows.loc[rows["arm"] == arm.value, "grade"]
        values = means[arm.value] if arm.value in means else pd.Series(dtype="float64")
        estimate = comparison.mean_estimate(values, **options)
        result[name] = estimate._asdict() | {
            "n_items": len(given),
            "given": {str(grade): int((given == grade).sum()) for grade in grades},
        }
    middle = (min(grades) + max(grades)) / 2
    known = rows.loc[rows["arm"] != Arm.NEAR.value]
    right = (known["grade"] > middle) == (known["arm"] == Arm.MAIN.value)
    result["right"] = float(right.mean()) if len(right) else None
    ends = means.reindex(columns=[Arm.MAIN.value, Arm.BASE_RATE.value])
    paired = (ends[Arm.MAIN.value] - ends[Arm.BASE_RATE.value]).dropna()
    result["separation"] = comparison.mean_estimate(paired, **options)._asdict()
    result["separates"] = separates(result["separation"])
    return result


def normalised(judgements: pd.DataFrame, units: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, Any]:
    """The headline between floor and ceiling: 0 is what another unit's explanation earns, 1 what a planted unit's true one does.

    The interval is a percentile one over resampled units of every kind, floor and ceiling included. None without either end.
    """
    scores = comparison.unit_scores(judgements, units)
    own = {
        kind: scores.loc[scores["kind"] == kind, "mean_score"].dropna().to_numpy() for kind in (*COMPARED, "planted")
    }
    floor = scores.loc[scores["kind"].isin(COMPARED), "shuffled_mean"].dropna().to_numpy()
    samples = [own["feature"], own["neuron"], own["planted"], floor]
    empty = {"floor": None, "ceiling": None, "features": None, "neurons": None, "difference": None}
    if min(map(len, samples)) < comparison.MIN_FOR_INTERVAL:
        return empty | {"ci_low": None, "ci_high": None}
    rng, n = np.random.default_rng(options["seed"]), options["resamples"]
    f, m, top, bottom = (s[rng.integers(len(s), size=(n, len(s)))].mean(axis=1) for s in samples)
    feature, neuron, ceiling, low = (float(s.mean()) for s in samples)
    room, drawn_room = ceiling - low, top - bottom
    if room <= 0:
        return empty | {"floor": low, "ceiling": ceiling, "ci_low": None, "ci_high": None}
    drawn = (f - m) / np.where(drawn_room > 0, drawn_room, np.nan)
    tail = (1 - options["confidence"]) / 2
    sure = bool(np.isfinite(drawn).all())
    return {
        "floor": low,
        "ceiling": ceiling,
        "features": (feature - low) / room,
        "neurons": (neuron - low) / room,
        "difference": (feature - neuron) / room,
        "ci_low": float(np.quantile(drawn, tail)) if sure else None,
        "ci_high": float(np.quantile(drawn, 1 - tail)) if sure else None,
    }


def untrained(
    judgements: pd.DataFrame, units: pd.DataFrame, options: Mapping[str, Any]
) -> dict[str, dict[str, Any]] | None:
    """By kind of random unit, what it earns: mean score and interval over its `n` scored units, and features minus it.

    `n_units` were read, of which `n_alive` fire often enough and `n_explained` have an explanation; `dead` is the share that never
    fires, `density` the median of those that are alive. None where the run has no random units.
    """
    scores = comparison.unit_scores(judgements, units)
    features = scores.loc[scores["kind"] == "feature", "mean_score"]
    found: dict[str, dict[str, Any]] = {}
    for kind in records.KINDS:
        mine = units.loc[units["kind"] == kind]
        if mine.empty:
            continue
        own = scores.loc[mine["unit_id"], "mean_score"]
        alive = mine.loc[mine["status"] == "alive"]
        against = comparison.compare(features, own, **options)
        found[kind] = comparison.mean_estimate(own, **options)._asdict() | {
            "n_units": len(mine),
            "n_alive": len(alive),
            "n_explained": int(alive["explanation"].notna().sum()),
            "dead": float((mine["status"] == "dead").mean()),
            "density": float(alive["density"].median()) if len(alive) else None,
            "features_minus": {name: getattr(against, name) for name in ("difference", "ci_low", "ci_high")},
        }
    return found or None


def repeats(judgements: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The judge against itself, on the items that it graded more than once; None where there are none."""
    rows = comparison.scored_rows(judgements)
    rows = rows.assign(item=_item(rows))
    found = agreement.repeats(rows[["item", "unit_id", "score"]], **options)
    return asdict(found) if found.n else None


def other(
    judgements: pd.DataFrame,
    again: pd.DataFrame,
    units: pd.DataFrame,
    second: str,
    grades: Sequence[int],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The second judge: its agreement with the first on the items that both graded, and the headline corrected by it."""
    rows = pd.concat([_graded(judgements, "judge"), _graded(again, second)], ignore_index=True)
    weights = 1.0 / again.assign(item=_item(again)).set_index("item")["probability"]
    rows["weight"] = rows["item"].map(weights[~weights.index.duplicated()]).fillna(1.0)
    agreeing = agreement.pair(rows, "judge", second, grades=grades, **options)
    sample = again.assign(score=again["score"].astype("Float64"))
    headline = prediction_powered.headline(judgements, sample, units, confidence=options["confidence"])
    return {"judge": second, "n": agreeing.n, "agreement": asdict(agreeing), "corrected": asdict(headline)}


def people(
    judgements: pd.DataFrame,
    labels: pd.DataFrame,
    units: pd.DataFrame,
    grades: Sequence[int],
    options: Mapping[str, Any],
) -> dict[str, Any] | None:
    """People's grades: the judge's agreement with each of them, theirs with each other, and the headline corrected by them.

    Where several people graded an item, their mean stands for it.
    """
    graded = labels.dropna(subset=["score"])
    raters = sorted(str(rater) for rater in graded["rater"].unique())
    if not raters:
        return None
    said = graded.assign(
        item=_item(graded), weight=1.0 / graded["probability"], score=graded["score"].astype("float64")
    )
    rows = pd.concat(
        [_graded(judgements, "judge"), said[["item", "unit_id", "rater", "score", "weight"]]], ignore_index=True
    )
    rows["weight"] = rows["item"].map(said.drop_duplicates("item").set_index("item")["weight"]).fillna(1.0)
    each = [asdict(agreement.pair(rows, "judge", rater, grades=grades, **options)) for rater in raters]
    among = rows.loc[rows["rater"] != "judge"]
    together = asdict(agreement.panel(among, grades=grades, **options)) if len(raters) > 1 else None
    design = labels.drop_duplicates("number").drop(columns=["score", "rater"])
    mean = graded.groupby("number")["score"].mean()
    sample = design.assign(score=design["number"].map(mean).astype("Float64"))
    headline = prediction_powered.headline(judgements, sample, units, confidence=options["confidence"])
    return {
        "raters": raters,
        "n": len(mean),
        "agreement": each,
        "together": together,
        "corrected": asdict(headline),
    }


def _graded(judgements: pd.DataFrame, rater: str) -> pd.DataFrame:
    """First grades by item, in the columns that `agreement` reads."""
    rows = comparison.scored_rows(judgements)
    rows = rows.loc[rows["repeat"] == 0].assign(item=_item, rater=rater, score=lambda r: r["grade"])
    return rows[["item", "unit_id", "rater", "score"]]


def _item(rows: pd.DataFrame) -> pd.Series[str]:
    """What makes a judged item one: its exemplar, arm, and whose explanation was shown."""
    return (
        rows["exemplar_id"].astype(str) + " " + rows["arm"].astype(str) + " " + rows["explanation_unit_id"].astype(str)
    )
