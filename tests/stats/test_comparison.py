from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from support.results.tables import BINS, judgement, judgement_table, planted, unit_table

from autointerp.findings import judge_evidence
from autointerp.records import Arm
from autointerp.stats import comparison

OPTIONS = {"confidence": 0.95, "resamples": 500, "seed": 1}
ON_SCALE = {"confidence": 0.95, "scale": (0, 3)}
FEW = {**OPTIONS, "resamples": 50}
"""For tests that two results are equal, for which any number of resamples suffices."""
grades = st.integers(0, 3)
rows = st.lists(
    st.builds(
        judgement,
        st.sampled_from(["feature-0", "feature-1", "neuron-5+"]),
        st.integers(1, BINS),
        st.one_of(st.none(), grades),
        arm=st.sampled_from(["main", "shuffled"]),
        item=st.integers(0, 2),
        repeat=st.integers(0, 1),
    ),
    max_size=30,
)
UNITS = unit_table(["feature-0", "feature-1", "neuron-5+"], bin_events=[[100, 50, *[1] * 8], [0] * BINS, [7] * BINS])


def test_unit_scores_average_repeats_then_exemplars_then_bins() -> None:
    table = judgement_table(
        [
            judgement("feature-0", 1, 0, item=0, repeat=0),
            judgement("feature-0", 1, 1, item=0, repeat=1),  # exemplar 0.5
            judgement("feature-0", 1, 3, item=1),  # bin 1: 1.75
            judgement("feature-0", 2, 3),  # bin 2: 3
            judgement("feature-0", 3, None),
            judgement("feature-0", 1, 1, arm="shuffled", item=1),
            judgement("feature-0", 0, 2, arm="base_rate"),
        ]
    )
    scores = comparison.unit_scores(table, UNITS)
    row = scores.loc["feature-0"]
    assert row["mean_score"] == pytest.approx((1.75 + 3) / 2)
    assert row["mean_score_frequency"] == pytest.approx((100 * 1.75 + 50 * 3) / 150)
    assert (row["n_scored"], row["n_unscored"], row["shuffled_mean"], row["base_rate_mean"]) == (4, 1, 1.0, 2.0)
    assert scores.loc["neuron-5+", ["mean_score", "shuffled_mean"]].isna().all()
    assert list(scores.index) == list(UNITS["unit_id"])


def test_a_unit_without_events_has_no_frequency_mean() -> None:
    scores = comparison.unit_scores(judgement_table([judgement("feature-1", 1, 3)]), UNITS)
    assert scores.loc["feature-1", "mean_score"] == 3
    assert math.isnan(scores.loc["feature-1", "mean_score_frequency"])


@given(rows, st.randoms())
@settings(max_examples=20, deadline=None)
def test_no_result_depends_on_the_order_of_rows(drawn: list[dict], random) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)

    def figures(table) -> str:
        bins = comparison.bin_table(table, UNITS, bins=BINS, grades=[0, 1, 2, 3], **FEW)
        paired = comparison.mean_estimate(comparison.paired_differences(table, Arm.SHUFFLED), **FEW)
        return repr((comparison.unit_scores(table, UNITS).to_dict(), bins, paired, judge_evidence.repeats(table, FEW)))

    assert figures(judgement_table(drawn)) == figures(judgement_table(shuffled))


@given(rows, rows)
@settings(max_examples=20, deadline=None)
def test_unscored_judgements_change_counts_and_nothing_else(drawn: list[dict], extra: list[dict]) -> None:
    refused = [{**row, "outcome": "refusal", "score": None} for row in extra]
    before, after = judgement_table(drawn), judgement_table(drawn + refused)
    means = ["mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean", "n_scored"]
    assert comparison.unit_scores(before, UNITS)[means].equals(comparison.unit_scores(after, UNITS)[means])
    added = (
        comparison.unit_scores(after, UNITS)["n_unscored"].sum()
        - comparison.unit_scores(before, UNITS)["n_unscored"].sum()
    )
    assert added == sum(row["arm"] == "main" for row in refused)
    tables = [comparison.bin_table(t, UNITS, bins=BINS, grades=range(4), **FEW) for t in (before, after)]
    for a, b in zip(*tables, strict=True):
        assert {**a, "n_unscored": 0, "why": ""} == {**b, "n_unscored": 0, "why": ""}


@given(st.lists(grades, min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_an_exemplar_counts_once_however_often_it_is_judged(values: list[int], repeats: int) -> None:
    once = [judgement("feature-0", 1, score, item=i) for i, score in enumerate(values)]
    again = [judgement("feature-0", 1, values[0], item=0, repeat=r) for r in range(1, repeats)]
    expected = comparison.unit_scores(judgement_table(once), UNITS).loc["feature-0", "mean_score"]
    assert comparison.unit_scores(judgement_table(once + again), UNITS).loc["feature-0", "mean_score"] == expected


def test_rows_whose_outcome_and_score_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="scored without a score"):
        comparison.scored_rows(judgement_table([{**judgement("feature-0", 1, 2), "outcome": "refusal"}]))


def test_bins_weight_units_equally_and_count_every_units_events() -> None:
    table = judgement_table(
        [judgement("feature-0", 1, 3, item=i) for i in range(9)]
        + [judgement("feature-1", 1, 0), judgement("feature-1", 1, None, item=1), judgement("neuron-5+", 2, 2)]
    )
    bins = comparison.bin_table(table, UNITS, bins=BINS, grades=[0, 1, 2, 3], **OPTIONS)
    assert [(b["kind"], b["bin"]) for b in bins] == [(k, b) for k in ("feature", "neuron") for b in range(1, BINS + 1)]
    first = bins[0]
    assert (first["mean"], first["share_0"], first["share_3"]) == (1.5, 0.5, 0.5)
    assert sum(first[f"count_{g}"] for g in range(4)) == first["n"]
    assert (first["n"], first["n_unscored"], first["n_units"], first["events"]) == (10, 1, 2, 100)
    assert (first["low"], first["high"], first["ci_low"]) == (0.0, 0.1, None)
    assert (bins[1]["mean"], bins[1]["share_0"], bins[1]["events"]) == (None, None, 50)
    assert bins[BINS + 1]["share_2"] == 1.0


def test_bin_shares_follow_the_rubrics_grades() -> None:
    table = judgement_table([judgement("feature-0", 1, 5), judgement("feature-0", 1, 4, item=1)])
    first = comparison.bin_table(table, UNITS, bins=BINS, grades=[4, 5], **OPTIONS)[0]
    assert (first["share_4"], first["share_5"]) == (0.5, 0.5)
    assert "share_0" not in first


def test_the_interval_of_many_units_is_close_to_scipys_bootstrap() -> None:
    rng = np.random.default_rng(0)
    f, n = rng.beta(4, 2, 40) * 3, rng.beta(2, 4, 30) * 3
    result = comparison.compare(f, n, **ON_SCALE)
    assert result.difference == pytest.approx(f.mean() - n.mean())
    assert result == comparison.compare(f[::-1], n, **ON_SCALE)
    oracle = scipy.stats.bootstrap(
        (f, n), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=20_000, rng=np.random.default_rng(9)
    ).confidence_interval
    assert (result.ci_low, result.ci_high) == pytest.approx((oracle.low, oracle.high), abs=0.04)


def test_the_interval_is_asymmetric_for_skewed_values() -> None:
    values = np.array([0.0] * 25 + [0.5] * 5 + [3.0] * 3)
    estimate = comparison.mean_estimate(values, confidence=0.95, resamples=4000, seed=0)
    assert estimate.ci_high - estimate.mean > 1.3 * (estimate.mean - estimate.ci_low)


@pytest.mark.parametrize("seed", [11, 12])
def test_intervals_cover_about_95_percent_on_skewed_unit_means(seed: int) -> None:
    # Beta(0.5, 1.5) x 3: J-shaped like neurons' unit means. Measured over 4000 runs: .937 at 25 units.
    rng, truth, runs = np.random.default_rng(seed), 3 * 0.25, 250
    covered = 0
    for run in range(runs):
        e = comparison.mean_estimate(3 * rng.beta(0.5, 1.5, 25), confidence=0.95, resamples=400, seed=run)
        covered += e.ci_low <= truth <= e.ci_high
    assert 0.89 <= covered / runs <= 0.985


def test_the_difference_and_superiority_cover_about_95_percent() -> None:
    rng, runs = np.random.default_rng(5), 200
    big = np.random.default_rng(0)
    p_true = np.mean(3 * big.beta(3, 1, 400_000) > 3 * big.beta(0.5, 1.5, 400_000))
    covered = np.zeros(2)
    for _ in range(runs):
        c = comparison.compare(3 * rng.beta(3, 1, 25), 3 * rng.beta(0.5, 1.5, 30), **ON_SCALE)
        covered += [c.ci_low <= 3 * (0.75 - 0.25) <= c.ci_high, c.p_superior_ci_low <= p_true <= c.p_superior_ci_high]
    assert (covered / runs >= 0.88).all()
    assert (covered / runs <= 0.99).all()


def test_different_populations_are_told_apart_and_equal_ones_are_not() -> None:
    units, judgements = planted(seed=1)
    apart = comparison.unit_scores(judgements, units)
    result = comparison.compare(
        *(apart.loc[apart["kind"] == k, "mean_score"] for k in ("feature", "neuron")), **ON_SCALE
    )
    assert result.ci_low < 3 * 0.4 < result.ci_high
    assert result.p_superior_ci_low > 0.9
    units, judgements = planted(seed=2, neuron_level=0.8)
    equal = comparison.unit_scores(judgements, units)
    result = comparison.compare(
        *(equal.loc[equal["kind"] == k, "mean_score"] for k in ("feature", "neuron")), **ON_SCALE
    )
    assert result.ci_low < 0 < result.ci_high
    assert result.p_superior_ci_low < 0.5 < result.p_superior_ci_high


def test_the_contrast_with_the_shuffled_arm_pairs_common_bins() -> None:
    table = judgement_table(
        [judgement("feature-0", b, s) for b, s in ((1, 0), (2, 2), (9, 3))]
        + [judgement("feature-0", 9, 1, arm="shuffled"), judgement("feature-0", 2, 1, arm="shuffled")]
        + [judgement("feature-1", 1, 3), judgement("feature-1", 5, 1, arm="shuffled")]  # no bin in common
        + [judgement("neuron-5+", 1, 3)]  # no control
    )
    assert comparison.paired_differences(table, Arm.SHUFFLED).to_dict() == {"feature-0": 1.5, "feature-1": 2.0}


def test_the_contrast_with_the_base_rate_is_the_difference_of_means() -> None:
    table = judgement_table(
        [judgement("feature-0", 1, 1), judgement("feature-0", 2, 3), judgement("feature-0", 0, 1, arm="base_rate")]
    )
    assert comparison.paired_differences(table, Arm.BASE_RATE).to_dict() == {"feature-0": 1.0}


@given(
    st.lists(st.sampled_from([0.0, 1.0, 1 / 3, 3.0, math.nan]), max_size=6),
    st.lists(st.sampled_from([0.0, 1.0, 3.0, math.nan]), max_size=6),
)
@settings(deadline=None)
def test_degenerate_samples_give_null_and_never_nan(features: list[float], neurons: list[float]) -> None:
    result = comparison.compare(features, neurons, **ON_SCALE)
    for part in (result, comparison.mean_estimate(features, **OPTIONS)):
        json.dumps(part.model_dump(), allow_nan=False)
    finite = [[v for v in values if not math.isnan(v)] for values in (features, neurons)]
    assert (result.n_features_scored, result.n_neurons_scored) == tuple(map(len, finite))
    assert (result.difference is None) == (not all(finite))
    defined = min(map(len, finite)) >= 3 and any(len(set(values)) > 1 for values in finite)
    assert (result.ci_low is not None) == defined == (result.why is None)
    if defined:
        assert result.ci_low <= result.ci_high


def test_event_counts_take_null_for_none_and_refuse_another_number_of_bins() -> None:
    units = unit_table(["feature-0", "feature-1"], bin_events=[None, np.arange(3)])
    assert comparison.event_counts(units, 3).tolist() == [[0, 0, 0], [0, 1, 2]]
    with pytest.raises(ValueError, match="3 bins but the spec has 4"):
        comparison.event_counts(units, 4)
