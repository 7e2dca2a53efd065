from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosis, norm, t
from simulations import worlds
from simulations.simulate_corrected import CASES, case_cover, cover, headline_cover, items
from support.results.tables import judgement, judgement_table, unit_table
from support.sae import peers

from autointerp.stats import comparison, prediction_powered

SCRIPT = peers.PINS / "infer_ppi.py"


def iid(rng: np.random.Generator, n: int, unseen: int) -> prediction_powered.Items:
    """One item per unit with equal weights, and a simple random sample of labels."""
    total = n + unseen
    label = rng.normal(1.5, 1, total)
    grade = label + rng.normal(0.3, 0.8, total)
    label[n:] = np.nan
    stratum = np.where(np.isnan(label), -1, 0)
    return prediction_powered.Items(
        np.arange(total), np.full(total, 1 / total), grade, label, stratum, np.full(total, n / total)
    )


def test_independent_items_give_the_estimate_of_ppi_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    ours, cases = [], []
    for n, unseen in ((20, 20), (40, 40), (200, 200), (30, 300), (100, 1000)):
        kind = iid(rng, n, unseen)
        corrected = prediction_powered.correct(kind, kind, confidence=0.95)
        found = corrected.features
        ours.append((found, corrected.difference, n, unseen))
        # Theirs weighs the unlabelled mean, ours that of all: the same estimate, with the power in their measure.
        cases.append(
            {
                "label": kind.label[:n].tolist(),
                "seen": kind.grade[:n].tolist(),
                "unseen": kind.grade[n:].tolist(),
                "power": found.power * unseen / (n + unseen),
            }
        )
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    theirs = json.loads(peers.run("ppi", SCRIPT, file))
    for (found, both, n, unseen), case, (value, low, high, power) in zip(ours, cases, theirs, strict=True):
        assert found.value == pytest.approx(value, abs=1e-10)
        assert found.power * unseen / (n + unseen) == pytest.approx(power, abs=0.1)
        # They divide squares by n, we by n - 1 and once more for the fitted power, and take Welch's t for their normal, with degrees of
        # freedom by kurtosis.
        label, seen, rest = (np.array(case[name]) for name in ("label", "seen", "unseen"))
        groups = [label - case["power"] * seen, case["power"] * rest]
        parts = [group.var() / len(group) for group in groups]
        assert ((high - low) / 2 / norm.ppf(0.975)) ** 2 == pytest.approx(sum(parts))
        unbiased = np.array([group.var(ddof=1) / len(group) for group in groups])
        by_kurtosis = [2 * len(group) / (kurtosis(group, fisher=False) - 1) for group in groups]
        freedom = unbiased.sum() ** 2 / (unbiased**2 / np.minimum(by_kurtosis, [n - 1, unseen - 1])).sum()
        # Two kinds alike have twice the variance of one, and twice its degrees of freedom.
        half = t.ppf(0.975, 2 * freedom) * np.sqrt(2 * unbiased.sum() * 2 * n / (2 * n - 1))
        assert both.ci_high - both.value == both.value - both.ci_low == pytest.approx(half)


def world(seed: int = 0, units: int = 30) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The judgements of a biased judge, a stratified sample with true grades, and the units."""
    rng = np.random.default_rng(seed)
    tables, labels = [], []
    for kind, of in (("feature", worlds.FEATURES), ("neuron", worlds.NEURONS)):
        grades = worlds.draw(rng, of, units, 5, 2)[0]
        judged = worlds.table(kind, worlds.biased(rng, grades))
        tables.append(judged)
        labels.append(worlds.label(rng, judged, grades, 60, by_grade=True))
    judgements = pd.concat(tables, ignore_index=True)
    return judgements, pd.concat(labels, ignore_index=True), worlds.units_of(judgements)


def test_the_judges_own_means_are_those_of_the_headline() -> None:
    judgements, labels, units = world()
    judgements = judgements.drop(judgements.index[::7])  # cells of unequal size, units without a bin
    units["bin_events"] = [[1] * 5] * len(units)
    scores = comparison.unit_scores(judgements, units)["mean_score"].groupby(units.set_index("unit_id")["kind"])
    found = prediction_powered.headline(judgements, labels, units, confidence=0.95)
    assert found.features.judge == pytest.approx(scores.mean()["feature"])
    assert found.neurons.judge == pytest.approx(scores.mean()["neuron"])
    assert found.difference.judge == pytest.approx(scores.mean()["feature"] - scores.mean()["neuron"])
    assert found.difference.value == pytest.approx(found.features.value - found.neurons.value)
    assert found.difference.power == found.features.power
    assert (
        json.loads(json.dumps(found.model_dump(), allow_nan=False))["difference"]["n_labels"]
        == found.difference.n_labels
    )


def test_labels_of_all_items_give_the_raters_mean() -> None:
    judgements, _, units = world()
    rng = np.random.default_rng(9)
    truth = judgements[["exemplar_id", "unit_id", "kind"]].assign(stratum=judgements["kind"], probability=1.0)
    truth["score"] = rng.integers(0, 4, len(truth))
    found = prediction_powered.headline(judgements, truth, units, confidence=0.95)
    means = truth.groupby("kind")["score"].mean()
    assert found.difference.value == pytest.approx(means["feature"] - means["neuron"])


def test_the_order_of_rows_changes_nothing_and_other_arms_are_left_out() -> None:
    judgements, labels, units = world()
    found = prediction_powered.headline(judgements, labels, units, confidence=0.95)
    other = judgements.head(40).assign(arm="shuffled", score=3)
    mixed = pd.concat([judgements, other]).sample(frac=1, random_state=1)
    more = pd.concat([labels, labels.head(9).assign(arm="shuffled", score=0)]).sample(frac=1, random_state=2)
    again = prediction_powered.headline(mixed, more, units, confidence=0.95)
    for name, corrected in again:
        expected = getattr(found, name)
        assert (
            corrected == expected
            if name == "absent"
            else corrected.model_dump() == pytest.approx(expected.model_dump())
        )


def test_labelled_items_represent_the_unlabelled_ones_of_their_stratum() -> None:
    judgements, labels, units = world()
    first = labels.groupby("stratum").cumcount() < 5
    pending = labels.assign(score=labels["score"].where(first))
    rate = labels["stratum"].map(first.groupby(labels["stratum"]).mean())
    smaller = labels.loc[first].assign(probability=labels["probability"] * rate)
    found, same = (
        prediction_powered.headline(judgements, x, units, confidence=0.95).difference for x in (pending, smaller)
    )
    assert found.model_dump() == pytest.approx(same.model_dump())


def test_too_few_labels_give_a_reason_and_no_estimate() -> None:
    judgements, labels, units = world()
    few = prediction_powered.headline(judgements, labels.head(4), units, confidence=0.95)
    assert few.difference.value is None
    assert few.difference.why == "only 4 labels of both kinds, and at least 15 are needed"
    assert few.difference.judge is not None
    of_features = labels.loc[labels["unit_id"].str.startswith("feature")]
    found = prediction_powered.headline(judgements, of_features, units, confidence=0.95)
    assert found.difference.why == "labels in only 0 units of a kind, and at least 5 are needed"
    assert found.features.ci_low < found.features.value < found.features.ci_high
    assert found.neurons.why == "only 0 labels of neurons, and at least 15 are needed"
    gone = labels.assign(score=labels["score"].where(labels["stratum"] != "feature/3"))
    found = prediction_powered.headline(judgements, gone, units, confidence=0.95)
    assert found.difference.why == "no label yet in 1 stratum of both kinds"


def test_a_run_without_neurons_or_grades_has_no_estimate() -> None:
    judgements, labels, units = world()
    only = judgements.loc[judgements["kind"] == "feature"]
    found = prediction_powered.headline(only, labels, units, confidence=0.95)
    assert (found.neurons.judge, found.difference.judge, found.difference.value) == (None, None, None)
    assert found.difference.why
    empty = judgement_table([judgement("feature-0", 1, None)])
    assert prediction_powered.headline(empty, labels, unit_table(["feature-0"]), confidence=0.95).features.why


def test_strata_of_equal_labels_are_named() -> None:
    judgements, labels, units = world()
    equal = labels.assign(score=labels["score"].where(labels["stratum"] != "feature/3", 3))
    found = prediction_powered.headline(judgements, equal, units, confidence=0.95)
    assert "feature/3" in found.features.uncertain.split(", ")
    assert "feature/3" in found.difference.uncertain.split(", ")
    assert "feature/3" not in found.neurons.uncertain
    assert found.features.ci_low < found.features.value < found.features.ci_high
    everything = equal.assign(probability=1.0)
    whole = prediction_powered.headline(judgements, everything, units, confidence=0.95)
    assert whole.features.uncertain == "", "a stratum of which every item has a label is certain"


def test_labels_that_are_all_alike_give_no_interval() -> None:
    judgements, labels, units = world()
    found = prediction_powered.headline(judgements, labels.assign(score=0), units, confidence=0.95)
    assert found.features.ci_low is None
    assert found.features.value is not None
    assert "strata whose labels are all equal (feature/0, feature/1, feature/2, feature/3)" in found.features.why


def test_means_near_the_end_of_the_scale_have_limits_within_it() -> None:
    judgements, labels, units = world()
    rare = labels.assign(score=(np.arange(len(labels)) % 9 == 0).astype(int))
    found = prediction_powered.headline(judgements, rare, units, confidence=0.95)
    for mean in (found.features, found.neurons):
        assert 0 < mean.ci_low < mean.value < mean.ci_high
        assert mean.ci_high - mean.value > mean.value - mean.ci_low


@pytest.mark.parametrize("name", ["dirichlet, errors by unit", "95% zeros in few units", "95% zeros spread"])
def test_corrected_intervals_cover_in_other_worlds(name: str) -> None:
    """A small version of `simulations/simulate_corrected.py`."""
    found = case_cover(CASES[name], units=20, runs=120, large=20_000)
    assert all(share >= 0.87 for share, given in found.values() if given > 0.3), found


def test_a_correct_judge_gets_more_weight_than_a_random_one() -> None:
    rng = np.random.default_rng(3)
    kind = items(rng, worlds.FEATURES, 60, 60, strata=False, by_unit=False)
    truth = np.where(np.isnan(kind.label), kind.grade, kind.label)
    honest = kind._replace(grade=truth)
    blind = kind._replace(grade=rng.permutation(kind.grade))
    powers = [prediction_powered.correct(k, k, confidence=0.95).difference.power for k in (honest, blind)]
    assert powers[0] > 0.8
    assert powers[1] < 0.35


def test_corrected_intervals_cover_where_the_judges_do_not() -> None:
    """A small version of `simulations/simulate_corrected.py`."""
    for n, strata in ((25, True), (50, False), (100, True)):
        kinds = (worlds.FEATURES, worlds.NEURONS)
        found, judge, _ = cover(kinds, units=64, n=n, strata=strata, by_unit=True, runs=150)
        assert 0.9 <= found["difference"] <= 1
        assert judge["neurons"] < 0.85


def test_the_headlines_interval_covers_the_true_difference() -> None:
    truth = worlds.true_mean(worlds.FEATURES, 6) - worlds.true_mean(worlds.NEURONS, 6)
    assert 0.88 <= headline_cover((worlds.FEATURES, worlds.NEURONS), truth, units=40, runs=100) <= 1
