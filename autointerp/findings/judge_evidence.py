"""Judge reliability: planted units, repeats, random units, a second judge, human labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from autointerp import records
from autointerp.findings import evidence as ev
from autointerp.findings.evidence import Evidence
from autointerp.findings.tables import Frames
from autointerp.harvest.control_units import planted_shortfall
from autointerp.records import COMPARED, Arm
from autointerp.spec.spec import Spec
from autointerp.stats import bin_uniform, comparison, jackknife, prediction_powered
from autointerp.stats.agreement import coefficients
from autointerp.stats.agreement.coefficients import Repeats
from autointerp.stats.comparison import interval_options
from autointerp.stats.estimates import Difference, MeanEstimate
from autointerp.stats.jackknife import Floats
from autointerp.stats.prediction_powered import CorrectedHeadline

PLANTED_ARMS = (Arm.MAIN, Arm.NEAR, Arm.BASE_RATE)
"""Arms of planted units: one of its words marked (a hit), a word beside it marked (near), a text without its words (a miss)."""
MOST_EVEN = 0.05
"""A rater skips items evenly if chance explains the differences between strata with at least this probability."""


def of_run(
    frames: Frames,
    spec: Spec,
    grades: Sequence[int],
    again: pd.DataFrame | None,
    labels: pd.DataFrame | None,
    left_out: Mapping[str, str],
) -> Evidence:
    """All evidence on the judge of a run, from its tables.

    `again` holds the second judge's judgements, `labels` people's grades; None if there are none. `left_out` holds the reasons why kinds
    of control units could not be made.
    """
    units = frames.units.sort_values("unit_id", ignore_index=True)
    evidence = gather(
        frames.main, units, again, labels, grades=grades, options=interval_options(spec), second=frames.second
    )
    if left_out:
        absent = {kind: ev.no_random_units(why) for kind, why in left_out.items()}
        evidence = evidence.model_copy(update={"random": absent | (evidence.random or {})})
    n_planted = int((units["kind"] == "planted").sum())
    shortfall = planted_shortfall(spec, n_planted)
    if evidence.planted is not None:
        return evidence.model_copy(update={"planted": evidence.planted.model_copy(update={"why": shortfall})})
    ungraded = f"none of the {n_planted} planted units has a grade" if n_planted else "controls.planted = 0"
    return evidence.model_copy(update={"absent": {"planted": shortfall if shortfall and not n_planted else ungraded}})


def gather(
    judgements: pd.DataFrame,
    units: pd.DataFrame,
    again: pd.DataFrame | None,
    labels: pd.DataFrame | None,
    *,
    grades: Sequence[int],
    options: Mapping[str, Any],
    second: str | None = None,
) -> Evidence:
    """All evidence on a judge.

    `judgements` are the judge's, controls included; `again` are those of the judge named `second`, with the stratum and probability of
    each item; `labels` has one row per rater and item of people's sample. `options` holds confidence, resamples and seed.
    """
    on_planted = planted(judgements, grades, options)
    return Evidence(
        planted=on_planted,
        normalised=normalised(judgements, units, options) if on_planted else None,
        repeats=repeats(judgements, options),
        random=random_units(judgements, units, grades, options),
        second=None
        if again is None or second is None
        else second_judge(judgements, again, units, second, grades, options),
        people=None if labels is None else people(judgements, labels, units, grades, options),
    )


def planted(judgements: pd.DataFrame, grades: Sequence[int], options: Mapping[str, Any]) -> ev.PlantedUnits | None:
    """Mean grades of hits, near items and misses of planted units, and their separation. None without graded planted units.

    An item counts once, however often it was graded.
    """
    rows = comparison.scored_rows(judgements.loc[judgements["kind"] == "planted"])
    rows = rows.loc[rows["arm"].isin([arm.value for arm in PLANTED_ARMS]) & (rows["repeat"] == 0)]
    if rows.empty:
        return None
    means = rows.groupby(["unit_id", "arm"])["score"].mean().unstack()

    def items(arm: Arm) -> ev.PlantedItems:
        given = rows.loc[rows["arm"] == arm.value, "grade"]
        values = means[arm.value] if arm.value in means else pd.Series(dtype="float64")
        estimate = comparison.mean_estimate(values, **options, empty="no such window has a grade")
        counts = {str(grade): int((given == grade).sum()) for grade in grades}
        return ev.PlantedItems(**estimate.model_dump(), n_items=len(given), given=counts)

    middle = (min(grades) + max(grades)) / 2
    known = rows.loc[rows["arm"] != Arm.NEAR.value]
    is_correct = (known["grade"] > middle) == (known["arm"] == Arm.MAIN.value)
    ends = means.reindex(columns=[Arm.MAIN.value, Arm.BASE_RATE.value])
    paired = (ends[Arm.MAIN.value] - ends[Arm.BASE_RATE.value]).dropna()
    separation = comparison.mean_estimate(
        paired, **options, empty="no planted unit has both a graded hit and a graded miss"
    )
    return ev.PlantedUnits(
        n_units=int(rows["unit_id"].nunique()),
        hits=items(Arm.MAIN),
        near=items(Arm.NEAR),
        misses=items(Arm.BASE_RATE),
        right=float(is_correct.mean()) if len(is_correct) else None,
        separation=separation,
        separates=_separates(separation),
    )


def _separates(separation: MeanEstimate) -> bool:
    """Whether hits are graded above misses beyond chance.

    If all units have the same difference it has no interval, and counts as certain.
    """
    mean, low = separation.mean, separation.ci_low
    if mean is None:
        return False
    return low > 0 if low is not None else mean > 0 and separation.n >= comparison.MIN_FOR_INTERVAL


def normalised(judgements: pd.DataFrame, units: pd.DataFrame, options: Mapping[str, Any]) -> ev.Normalised:
    """The headline between floor and ceiling: 0 is the mean grade of other units' explanations, 1 that of planted units' true ones.

    (features - neurons) / (ceiling - floor), with a t interval over units of every kind; a unit's own and shuffled grades are
    not independent, and count together. Floor and ceiling are None for too few units, and the rest also if the ceiling is not above the
    floor. There is no interval if the distance between them is not certain to be positive.
    """
    scores = _headline_scores(judgements, units).dropna(subset=["mean_score", "shuffled_mean"], how="all")
    kinds = {kind: scores.loc[scores["kind"] == kind] for kind in (*COMPARED, "planted")}
    compared = scores["kind"].isin(COMPARED)
    samples = [*(rows["mean_score"] for rows in kinds.values()), scores.loc[compared, "shuffled_mean"]]
    if min(sample.notna().sum() for sample in samples) < comparison.MIN_FOR_INTERVAL:
        return _no_room(None, None)
    feature, neuron, ceiling, floor = (float(sample.mean()) for sample in samples)
    room = ceiling - floor
    if room <= 0:
        return _no_room(floor, ceiling)
    difference = (feature - neuron) / room
    parts: dict[str, tuple[Floats, Floats]] = {}
    for kind, rows in kinds.items():
        # The part of each unit in (ceiling - floor), and in (features - neurons) - difference * (ceiling - floor).
        own = _influence(rows["mean_score"], rows["mean_score"])
        if kind == "planted":
            parts[kind] = own, -difference * own
        else:
            ends = -_influence(rows["shuffled_mean"], samples[3])
            parts[kind] = ends, (own if kind == "feature" else -own) - difference * ends
    low, _ = _t_interval(room, [part[0] for part in parts.values()], options["confidence"])
    has_interval = low > 0
    limits = _t_interval(difference, [part[1] / room for part in parts.values()], options["confidence"])
    return ev.Normalised(
        floor=floor,
        ceiling=ceiling,
        features=(feature - floor) / room,
        neurons=(neuron - floor) / room,
        difference=difference,
        ci_low=limits[0] if has_interval else None,
        ci_high=limits[1] if has_interval else None,
    )


def _headline_scores(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The scores of units, in which the `mean_score` of features and neurons is their part in the headline (see `bin_uniform`)."""
    scores, grades = comparison.unit_scores(judgements, units), comparison.bin_grades(judgements, units)
    for kind in COMPARED:
        table = grades.of(kind)
        values = pd.Series(bin_uniform.unit_values(table), table.index) if len(table) else pd.Series(dtype="float64")
        scores.loc[scores["kind"] == kind, "mean_score"] = values
    return scores


def _influence(values: pd.Series[float], sample: pd.Series[float]) -> Floats:
    """Each unit's part in the mean of the sample, (value - mean) / n; 0 if it has no value."""
    away = (values - sample.mean()) / sample.notna().sum()
    return np.asarray(away.fillna(0.0), dtype=np.float64)


def _t_interval(value: float, groups: Sequence[Floats], confidence: float) -> tuple[float, float]:
    """The interval of a sum over independent groups of units, from each unit's part in it (degrees of freedom by Welch)."""
    # The jackknife of a sum: without a unit, it is smaller by the unit's part.
    spreads = [jackknife.error_and_freedom(-part * len(part) / (len(part) - 1)) for part in groups]
    variances = [float(error) ** 2 for error, _ in spreads]
    if not sum(variances):
        return value, value
    freedom = sum(variances) ** 2 / sum(v**2 / float(f) for v, (_, f) in zip(variances, spreads, strict=True) if v)
    half = float(stats.t.ppf((1 + confidence) / 2, max(freedom, 1.0))) * math.sqrt(sum(variances))
    return value - half, value + half


def _no_room(floor: float | None, ceiling: float | None) -> ev.Normalised:
    """A floor and a ceiling between which nothing can be placed."""
    return ev.Normalised(
        floor=floor, ceiling=ceiling, features=None, neurons=None, difference=None, ci_low=None, ci_high=None
    )


def random_units(
    judgements: pd.DataFrame, units: pd.DataFrame, grades: Sequence[int], options: Mapping[str, Any]
) -> dict[str, ev.RandomUnits] | None:
    """By kind of random unit, its mean grade and the features' minus it. None if the run has no random units."""
    scores = comparison.unit_scores(judgements, units)
    features = scores.loc[scores["kind"] == "feature", "mean_score"]
    by_kind: dict[str, ev.RandomUnits] = {}
    scale = (float(min(grades)), float(max(grades)))
    for kind in (*records.RANDOM_KINDS, *records.DIRECTION_KINDS):
        mine = units.loc[units["kind"] == kind]
        if mine.empty:
            continue
        own = scores.loc[mine["unit_id"], "mean_score"]
        alive = mine.loc[mine["status"] == "alive"]
        compared = comparison.compare(features, own, confidence=options["confidence"], scale=scale)
        by_kind[kind] = ev.RandomUnits(
            **comparison.mean_estimate(own, scale=scale, **options, empty="no such unit has a grade").model_dump(),
            n_units=len(mine),
            n_alive=len(alive),
            n_explained=int(alive["explanation"].notna().sum()),
            dead=float((mine["status"] == "dead").mean()),
            density=float(alive["density"].median()) if len(alive) else None,
            features_minus=Difference(**compared.model_dump(include={"difference", "ci_low", "ci_high", "why"})),
        )
    return by_kind or None


def repeats(judgements: pd.DataFrame, options: Mapping[str, Any]) -> Repeats | None:
    """The judge's agreement with itself on the items that it graded more than once; None if there are none."""
    rows = comparison.scored_rows(judgements)
    rows = rows.assign(item=_item(rows))
    found = coefficients.repeats(rows[["item", "unit_id", "score", "grade"]], **options)
    return found if found.n else None


def second_judge(
    judgements: pd.DataFrame,
    again: pd.DataFrame,
    units: pd.DataFrame,
    second: str,
    grades: Sequence[int],
    options: Mapping[str, Any],
) -> ev.SecondJudge:
    """The second judge's agreement with the first on the items that both graded, and the headline corrected by its grades."""
    rows = pd.concat([_graded(judgements, "judge"), _graded(again, second)], ignore_index=True)
    weights = 1.0 / again.assign(item=_item(again)).set_index("item")["probability"]
    rows["weight"] = rows["item"].map(weights[~weights.index.duplicated()]).fillna(1.0)
    pair = coefficients.pair(rows, "judge", second, grades=grades, **options)
    sample = again.assign(score=again["score"].astype("Float64"))
    return ev.SecondJudge(
        judge=second, n=pair.n, agreement=pair, corrected=_corrected(judgements, sample, units, options)
    )


def people(
    judgements: pd.DataFrame,
    labels: pd.DataFrame,
    units: pd.DataFrame,
    grades: Sequence[int],
    options: Mapping[str, Any],
) -> ev.People | None:
    """The judge's agreement with each rater, the raters' with each other, and the headline corrected by their grades.

    The label of an item that several people graded is their mean grade. None if nobody has graded anything.
    """
    graded = labels.dropna(subset=["score"])
    raters = sorted(str(rater) for rater in graded["rater"].unique())
    if not raters:
        return None
    by_people = graded.assign(
        item=_item(graded), weight=1.0 / graded["probability"], score=graded["score"].astype("float64")
    )
    rows = pd.concat(
        [_graded(judgements, "judge"), by_people[["item", "unit_id", "rater", "score", "weight"]]], ignore_index=True
    )
    rows["weight"] = rows["item"].map(by_people.drop_duplicates("item").set_index("item")["weight"]).fillna(1.0)
    among = rows.loc[rows["rater"] != "judge"]
    panel = coefficients.panel(among, grades=grades, **options) if len(raters) > 1 else None
    design = labels.drop_duplicates("number").drop(columns=["score", "rater"])
    mean = graded.groupby("number")["score"].mean()
    sample = design.assign(score=design["number"].map(mean).astype("Float64"))
    return ev.People(
        raters=raters,
        n=len(mean),
        agreement=[coefficients.pair(rows, "judge", rater, grades=grades, **options) for rater in raters],
        together=panel,
        passed_over=passed_over(labels, options["seed"]),
        corrected=_corrected(judgements, sample, units, options),
    )


def passed_over(labels: pd.DataFrame, seed: int) -> list[ev.PassedOver]:
    """The raters who skipped items of the main arm, and whether they skipped them more often under some of the judge's grades."""
    main = labels.loc[(labels["arm"] == Arm.MAIN.value) & labels["rater"].notna()]
    found = []
    for rater, rows in main.groupby("rater"):
        skipped = rows["score"].isna()
        if not skipped.any():
            continue
        table = pd.crosstab(rows["stratum"], skipped).to_numpy()
        uneven = False
        if min(table.shape) > 1:
            shuffled = stats.PermutationMethod(n_resamples=1999, rng=np.random.default_rng(seed))
            uneven = stats.chi2_contingency(table, correction=False, method=shuffled).pvalue < MOST_EVEN
        shares = {str(name): float(share) for name, share in skipped.groupby(rows["stratum"]).mean().items()}
        found.append(
            ev.PassedOver(rater=str(rater), n=int(skipped.sum()), n_seen=len(rows), shares=shares, uneven=uneven)
        )
    return found


def _corrected(
    judgements: pd.DataFrame, sample: pd.DataFrame, units: pd.DataFrame, options: Mapping[str, Any]
) -> CorrectedHeadline:
    return prediction_powered.headline(judgements, sample, units, confidence=options["confidence"])


def _graded(judgements: pd.DataFrame, rater: str) -> pd.DataFrame:
    """The first grade of each item, in the columns that `agreement` reads."""
    rows = comparison.scored_rows(judgements)
    rows = rows.loc[rows["repeat"] == 0].assign(item=_item, rater=rater, score=lambda r: r["grade"])
    return rows[["item", "unit_id", "rater", "score"]]


def _item(rows: pd.DataFrame) -> pd.Series[str]:
    """Identity of a judged item: its exemplar, its arm, and the explanation that was shown."""
    return (
        rows["exemplar_id"].astype(str) + " " + rows["arm"].astype(str) + " " + rows["explanation_unit_id"].astype(str)
    )
