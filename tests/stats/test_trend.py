"""Trends and drift over simulated nights: false alarms, missed regressions, and the coverage of intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.nightly.judge_drift import choose
from autointerp.stats import comparison, trend
from autointerp.stats.trend import Change

NIGHTS = 200
BINS = 6


def grades(quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grades (units, judgements): the unit's quality, luck of its explanation that all its judgements share, and noise of the judge."""
    luck = rng.normal(0, 0.35, (len(quality), 1))
    noise = rng.normal(0, 0.7, (len(quality), BINS * 3))
    return np.clip(np.rint(quality[:, None] + luck + noise), 0, 3)


def judged(quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grades (units, judgements), of which one in forty is NaN for unscored."""
    drawn = grades(quality, rng).astype(float)
    drawn[rng.random(drawn.shape) < 0.025] = np.nan
    return drawn


def unit_table(quality: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """A version's `units.parquet`: the bin-uniform mean of simulated judgements of each feature, and a perfect neuron."""
    by_bin = judged(quality, rng).reshape(len(quality), -1, BINS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bin without a scored judgement
        mean = np.nanmean(np.nanmean(by_bin, axis=1), axis=1)
    features = pd.DataFrame(
        {"unit_id": [f"feature-{i}" for i in range(len(quality))], "kind": "feature", "mean_score": mean}
    )
    neurons = pd.DataFrame({"unit_id": ["neuron-0+"], "kind": "neuron", "mean_score": [3.0]})
    return pd.concat([features, neurons], ignore_index=True)


def test_simulated_means_are_those_of_unit_scores() -> None:
    quality = qualities(48, np.random.default_rng(0))
    drawn = judged(quality, np.random.default_rng(1))
    unit, item = (axis.ravel() for axis in np.indices(drawn.shape))
    judgements = pd.DataFrame(
        {
            "unit_id": [f"feature-{i}" for i in unit],
            "arm": "main",
            "bin": item % BINS + 1,
            "exemplar_id": [f"{u}/{i}" for u, i in zip(unit, item, strict=True)],
            "outcome": np.where(np.isnan(drawn.ravel()), "refusal", "scored"),
            "score": pd.array(drawn.ravel()).astype("Int64"),
        }
    )
    simulated = unit_table(quality, np.random.default_rng(1)).iloc[:-1]
    units = simulated[["unit_id", "kind"]].assign(bin_events=[[1] * BINS] * len(quality))
    scores = comparison.unit_scores(judgements, units)["mean_score"]
    assert simulated["mean_score"].to_numpy() == pytest.approx(scores.to_numpy())


def qualities(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([0.4, 1.2, 2.0, 2.7], n)


def test_an_unchanged_dictionary_is_not_flagged_more_often_than_its_interval_allows() -> None:
    n, rng = 24, np.random.default_rng(1)
    verdicts = []
    for _ in range(NIGHTS):
        quality = qualities(n, rng)
        verdicts.append(trend.compare(unit_table(quality, rng), unit_table(quality, rng)).change.verdict)
    assert verdicts.count("regression") <= stats.binom.ppf(0.999, NIGHTS, 0.025)
    assert NIGHTS - verdicts.count("unchanged") <= stats.binom.ppf(0.999, NIGHTS, 0.05)
    assert NIGHTS - verdicts.count("unchanged") >= stats.binom.ppf(0.001, NIGHTS, 0.05), "the intervals are too wide"


def test_a_real_regression_is_flagged() -> None:
    """A third of the features lose one and a half grades, which lowers the mean by half a grade."""
    rng = np.random.default_rng(7)
    flagged = 0
    for _ in range(NIGHTS // 2):
        quality = qualities(48, rng)
        worse = np.where(rng.random(48) < 1 / 3, quality - 1.5, quality)
        flagged += trend.compare(unit_table(quality, rng), unit_table(worse, rng)).change.verdict == "regression"
    assert flagged >= 0.95 * NIGHTS / 2


@pytest.mark.parametrize("n", [16, 48])
def test_a_change_of_the_smallest_size_announced_is_told_in_four_of_five_nights(n: int) -> None:
    """In all other nights it cannot be told, whatever the verdict of an unchanged dictionary is."""
    rng = np.random.default_rng(9)
    nights = []
    for _ in range(600):
        quality = qualities(n, rng)
        nights.append(trend.mean_change((grades(quality, rng) - grades(quality, rng)).mean(axis=1)))
    assert {change.told for change in nights} == {"better", "worse", "cannot be told"}
    smallest = np.mean([change.smallest for change in nights if change.smallest is not None])
    found = np.mean([change.ci_low + smallest > 0 for change in nights if change.ci_low is not None])
    assert 0.8 - 0.03 <= found <= 0.9
    assert trend.mean_change([0.5]).smallest is trend.mean_change([0.5] * n).smallest is None
    assert trend.mean_change([0.5]).told == "cannot be told"


def coverage(draw: Callable[[np.random.Generator], tuple[Change, float]], times: int) -> int:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(times):
        change, truth = draw(rng)
        assert change.ci_low is not None
        assert change.ci_high is not None
        hits += change.ci_low <= truth <= change.ci_high
    return hits


@pytest.mark.parametrize("n", [16, 32, 64])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_interval_covers_the_true_change(n: int, share: float) -> None:
    """The true change is that of a large draw. A share of the features loses a grade, which makes a skewed mixture."""

    def differences(rng: np.random.Generator, size: int) -> np.ndarray:
        quality = qualities(size, rng)
        now = quality - (rng.random(size) < share)
        return np.asarray((grades(now, rng) - grades(quality, rng)).mean(axis=1))

    truth = float(differences(np.random.default_rng(3), 100_000).mean())
    hits = coverage(lambda rng: (trend.mean_change(differences(rng, n)), truth), 1000)
    assert stats.binom.ppf(0.001, 1000, 0.94) <= hits <= stats.binom.ppf(0.999, 1000, 0.96)


@pytest.mark.parametrize("moved", [0.0, -0.4])
def test_judge_drift_covers_with_items_in_clusters(moved: float) -> None:
    """Fifty anchors on 25 units; each night the judge has a bias for each unit that affects all its items."""

    def night(rng: np.random.Generator, quality: np.ndarray, shift: float) -> dict[int, int]:
        mood = np.repeat(rng.normal(0, 0.4, 25), 2)
        asked = np.clip(np.rint(quality + shift + mood + rng.normal(0, 0.6, 50)), 0, 3)
        return dict(enumerate(asked.astype(int).tolist()))

    quality = np.tile([0.4, 1.2, 1.9, 2.6, 1.5], 10)
    units = {i: f"feature-{i // 2}" for i in range(50)}
    fixed = np.random.default_rng(5)
    many = [[np.mean(list(night(fixed, quality, s).values())) for s in (0.0, moved)] for _ in range(4000)]
    truth = float(np.diff(np.mean(many, axis=0))[0])

    def draw(rng: np.random.Generator) -> tuple[Change, float]:
        return trend.judge_drift(night(rng, quality, 0.0), night(rng, quality, moved), units), truth

    hits = coverage(draw, 1000)
    assert stats.binom.ppf(0.001, 1000, 0.935) <= hits <= stats.binom.ppf(0.999, 1000, 0.96)


def test_anchors_chosen_by_their_grades_must_be_graded_afresh() -> None:
    """Compared with the grades by which anchors were chosen, an unchanged judge seems to drift; with fresh grades it does not."""
    rng = np.random.default_rng(2)
    by_choice, afresh = [], []
    for _ in range(NIGHTS):
        quality = rng.choice([0.6, 2.6], 400, p=[0.2, 0.8])
        first, second, third = (np.clip(np.rint(quality + rng.normal(0, 0.7, 400)), 0, 3) for _ in range(3))
        rows = [{"job_key": f"{i:03}", "unit_id": f"feature-{i}", "score": int(g)} for i, g in enumerate(first)]
        picked = [int(str(row["job_key"])) for row in choose(rows, 48)]
        units = {i: f"feature-{i}" for i in picked}
        answers = [{i: int(given[i]) for i in picked} for given in (first, second, third)]
        by_choice.append(trend.judge_drift(answers[0], answers[2], units).excludes_zero)
        afresh.append(trend.judge_drift(answers[1], answers[2], units).excludes_zero)
    assert sum(afresh) <= stats.binom.ppf(0.999, NIGHTS, 0.05)
    assert sum(by_choice) > NIGHTS / 4


def test_population_weights_correct_a_drift_that_depends_on_the_grade() -> None:
    """The judge grades one lower, but never below 0; most judgements are 0, but only a quarter of the anchors."""
    rng = np.random.default_rng(6)
    quality = rng.choice([0.0, 1.0, 2.0, 3.0], 40_000, p=[0.7, 0.1, 0.1, 0.1])

    def ask(shift: float) -> np.ndarray:
        return np.clip(np.rint(quality + shift + rng.normal(0, 0.4, len(quality))), 0, 3).astype(int)

    first, second, third = ask(0.0), ask(0.0), ask(-1.0)
    truth = float((third - second).mean())
    shares = {grade: float((first == grade).mean()) for grade in range(4)}
    plain = weighed = 0
    for _ in range(NIGHTS):
        picked = np.concatenate([rng.choice(np.flatnonzero(first == grade), 12) for grade in range(4)]).tolist()
        before, now = ({i: int(given[k]) for i, k in enumerate(picked)} for given in (second, third))
        units = {i: f"feature-{i}" for i in before}
        weights = trend.population_weights({i: int(first[k]) for i, k in enumerate(picked)}, shares)
        for_all = trend.judge_drift(before, now, units, weights)
        assert for_all.ci_low is not None
        assert for_all.ci_high is not None
        weighed += for_all.ci_low <= truth <= for_all.ci_high
        of_anchors = trend.judge_drift(before, now, units)
        assert of_anchors.ci_low is not None
        assert of_anchors.ci_high is not None
        plain += of_anchors.ci_low <= truth <= of_anchors.ci_high
    assert weighed >= stats.binom.ppf(0.001, NIGHTS, 0.9)
    assert plain < NIGHTS / 2


def test_a_trend_caused_by_drift_disappears_when_the_drift_is_subtracted() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(-0.4, 0.3, 64)
    change = trend.mean_change(features)
    drift = trend.clustered_change([[(1.0, x)] for x in rng.normal(-0.4, 0.5, 50)])
    assert change.verdict == "regression"
    assert drift.excludes_zero
    left = trend.corrected(change, drift)
    assert left.verdict == "unchanged"
    assert left.difference == pytest.approx(change.difference - drift.difference)
    assert left.error == pytest.approx(np.hypot(change.error, drift.error))
    assert min(change.freedom, drift.freedom) <= left.freedom <= change.freedom + drift.freedom


def test_only_features_that_both_versions_scored_are_paired() -> None:
    before = pd.DataFrame({"unit_id": [f"feature-{i}" for i in range(12)], "kind": "feature", "mean_score": 2.0})
    now = before.iloc[2:].assign(mean_score=1.0)
    now.loc[now["unit_id"] == "feature-3", "mean_score"] = np.nan
    neurons = pd.DataFrame({"unit_id": ["neuron-1+"], "kind": "neuron", "mean_score": [0.0]})
    pairing = trend.compare(pd.concat([before, neurons.assign(mean_score=3.0)]), pd.concat([now, neurons]))
    assert (pairing.change.n, pairing.n_only_before, pairing.n_only_now) == (9, 3, 0)
    assert pairing.change.difference == -1.0
    assert (pairing.mean_before, pairing.mean_now) == (2.0, 1.0)
    few = trend.compare(before.head(trend.MIN_PAIRS - 1), now)
    assert few.change.verdict == "unknown"


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=5), min_size=12, max_size=30))
def test_clusters_of_one_item_give_the_plain_t_interval(clusters: list[list[int]]) -> None:
    flat = [cluster[0] for cluster in clusters]
    single, plain = trend.clustered_change([[(2.0, x)] for x in flat]), trend.mean_change(flat)
    assert single.ci_low == pytest.approx(plain.ci_low, abs=1e-9)
    assert single.ci_high == pytest.approx(plain.ci_high, abs=1e-9)
    weighted = trend.clustered_change([[(1.0, x) for x in c] for c in clusters])
    assert weighted.difference == pytest.approx(np.mean([x for c in clusters for x in c]))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60), st.integers(1, 20))
def test_anchors_are_distributed_evenly_over_grades(drawn: list[tuple[int, int]], n: int) -> None:
    rows = [{"job_key": f"{i:03}", "unit_id": f"feature-{u}", "score": g} for i, (u, g) in enumerate(drawn)]
    chosen = choose(rows, n)
    assert len(chosen) == len({row["job_key"] for row in chosen}) == min(n, len(rows))
    counts = {g: sum(row["score"] == g for row in chosen) for _, g in drawn}
    left = {g: sum(row["score"] == g for row in rows) - count for g, count in counts.items()}
    assert all(counts[g] >= counts[other] - 1 for g in counts for other in counts if left[g])
    assert choose(list(reversed(rows)), n) == chosen
