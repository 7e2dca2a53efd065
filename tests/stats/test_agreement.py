from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from simulations import simulate_agreement
from support.results.tables import judgement, judgement_table
from support.sae import peers

from autointerp.stats.agreement import coefficients
from autointerp.stats.estimates import no_figure

OPTIONS = {"confidence": 0.95, "resamples": 100, "seed": 1}
GRADES = (0, 1, 2, 3)
SCRIPT = peers.PINS / "agree.py"


def frame(ratings: np.ndarray, units: int | None = None, weights: np.ndarray | None = None) -> pd.DataFrame:
    """A table from ratings (raters, items) with NaN for missing ones. Items are distributed over `units` units, by default one each."""
    rater, item = np.nonzero(~np.isnan(ratings))
    unit = item % (units or ratings.shape[1])
    table = pd.DataFrame({"item": item, "unit_id": [f"u{u}" for u in unit], "rater": [f"r{r}" for r in rater]})
    table["score"] = ratings[rater, item].astype(int)
    return table if weights is None else table.assign(weight=np.asarray(weights)[item])


def two(a: list[int], b: list[int], **options) -> coefficients.Agreement:
    return coefficients.pair(frame(np.array([a, b], dtype=float), **options), "r0", "r1", grades=GRADES, **OPTIONS)


def test_figures_equal_those_of_scikit_learn_irrcac_and_krippendorff(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for n, skew in ((2, 1.0), (9, 1.0), (40, 1.0), (60, 0.05), (200, 0.3)):
        a = rng.choice(4, n, p=np.array([skew, skew, skew, 1]) / (3 * skew + 1)).astype(float)
        ratings = np.array([a, np.clip(a + rng.integers(-1, 2, n), 0, 3)])
        cases.append((ratings, np.ones(n)))
        cases.append((ratings, rng.uniform(0.5, 9, n)))
        gaps = np.vstack([ratings, rng.integers(0, 4, (2, n))])
        gaps[rng.random(gaps.shape) < 0.3] = np.nan
        gaps[:2, :2] = ratings[:, :2]
        cases.append((gaps, np.ones(n)))
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([{"ratings": r.tolist(), "weights": w.tolist()} for r, w in cases]))
    theirs = json.loads(peers.run("agreement", SCRIPT, file))
    for (ratings, weights), other in zip(cases, theirs, strict=True):
        plain = bool((weights == 1).all())
        if len(ratings) == 2:
            ours = coefficients.pair(frame(ratings, weights=weights), "r0", "r1", grades=GRADES, **OPTIONS)
            assert ours.kappa.value == pytest.approx(other["kappa"], abs=1e-9)
            if plain:
                assert ours.ac2.value == pytest.approx(other["ac2"], abs=1e-9)
                assert ours.alpha.value == pytest.approx(other["alpha"], abs=1e-9)
        all_of_them = coefficients.panel(frame(ratings), grades=GRADES, **OPTIONS)
        assert all_of_them.alpha.value == pytest.approx(other["alpha"], abs=1e-9)


@given(
    st.lists(st.tuples(st.sampled_from(GRADES), st.sampled_from(GRADES), st.integers(1, 3)), min_size=2, max_size=25)
)
@settings(max_examples=25)
def test_an_integer_weight_counts_like_that_many_items(rows: list[tuple[int, int, int]]) -> None:
    a, b, times = (list(c) for c in zip(*rows, strict=True))
    weighted = two(a, b, weights=np.array(times, dtype=float))
    repeated = two(list(np.repeat(a, times)), list(np.repeat(b, times)))
    for name in ("exact", "adjacent", "kappa", "ac2", "difference"):
        assert getattr(weighted, name).value == pytest.approx(getattr(repeated, name).value, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from(GRADES), st.sampled_from(GRADES)), max_size=20), st.integers(1, 8))
@settings(max_examples=40)
def test_every_statistic_has_an_interval_or_a_reason(rows: list[tuple[int, int]], units: int) -> None:
    ratings = np.array(rows, dtype=float).reshape(-1, 2).T
    found = coefficients.pair(frame(ratings, units), "r0", "r1", grades=GRADES, **OPTIONS)
    again = frame(ratings, units)
    noise = coefficients.repeats(again, **OPTIONS)
    text = json.dumps([x.model_dump() for x in (found, noise)], allow_nan=False)
    assert "NaN" not in text
    for one in (found, noise):
        for figure in vars(one).values():
            if isinstance(figure, coefficients.Figure):
                assert (figure.ci_low is None) == (figure.ci_high is None) == bool(figure.why)
                if figure.ci_low is not None:
                    assert figure.value is not None
                    assert figure.ci_low <= figure.ci_high


def test_undefined_statistics_give_a_reason() -> None:
    same = two([3] * 6, [3] * 6)
    assert same.kappa == no_figure("undefined: all grades are 3")
    assert same.alpha.why == "undefined: all grades are 3"
    assert (same.exact.value, same.ac2.value) == (1.0, 1.0)
    assert same.difference.why == "no interval: the same in every unit"
    assert two([], []).exact.why == "undefined: no item was graded by both r0 and r1"
    assert two([2], [3]).kappa.why == "undefined: one item"
    assert two([2, 1], [3, 1]).exact.why == "no interval: fewer than 3 units"
    one = coefficients.repeats(frame(np.array([[1.0, 2.0]])), **OPTIONS)
    assert one.icc_single.why == "undefined: no item was graded twice"


def test_a_grade_outside_the_rubric_is_refused() -> None:
    with pytest.raises(ValueError, match="scores: 7 is none of the grades 0, 1, 2, 3"):
        two([7], [3])


def test_the_confusion_matrix_counts_items_and_the_difference_is_b_minus_a() -> None:
    found = two([0, 0, 1, 3], [1, 0, 2, 3], weights=np.array([9.0, 1, 1, 1]))
    assert found.confusion[0] == (1, 1, 0, 0)
    assert (found.confusion[1][2], found.confusion[3][3], found.n) == (1, 1, 4)
    assert found.difference.value == pytest.approx(10 / 12)
    assert found.exact.value == pytest.approx(2 / 12)


def test_skewed_grades_lower_alpha_but_not_ac2() -> None:
    a = [3] * 95 + [0, 1, 2, 3, 3]
    b = [3] * 93 + [2, 1, 3, 1, 2, 1, 0]
    found = two(a, b)
    assert found.exact.value is not None
    assert found.exact.value > 0.9
    assert found.alpha.value < 0.7 < 0.9 < found.ac2.value


def test_repeats_have_the_icc_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(2)
    level = rng.integers(0, 4, 40)
    grades = np.clip(level[:, None] + rng.integers(-1, 2, (40, 3)), 0, 3)
    rows = [
        judgement("feature-0", 1, int(g), item=i, repeat=r) for i, gs in enumerate(grades) for r, g in enumerate(gs)
    ]
    table = judgement_table(rows)
    scores = table.rename(columns={"exemplar_id": "item"}).astype({"score": float})
    found = coefficients.repeats(scores, **OPTIONS)
    assert (found.n, found.per_item) == (40, 3.0)
    between, within = 3 * grades.mean(1).var(ddof=1), grades.var(1, ddof=1).mean()
    assert found.within_sd.value == pytest.approx(math.sqrt(within))
    differ = [a != b for row in grades for a, b in itertools.combinations(row, 2)]
    assert found.flip_rate.value == pytest.approx(np.mean(differ))
    assert found.icc_single.value == pytest.approx((between - within) / (between + 2 * within))
    assert found.icc_mean.value == pytest.approx(1 - within / between)
    assert found.icc_single.why == "no interval: fewer than 10 units"
    assert found.flip_rate.why == "no interval: fewer than 3 units"


@pytest.mark.parametrize("units", [20, 80])
def test_perfect_agreement_has_a_lower_limit(units: int) -> None:
    """80 items, each graded alike: shares and coefficients have a limit that rises with the number of units."""
    grades = list(np.arange(80) // 4 % 4)
    found = two(grades, grades, units=units)
    exact = 0.025 ** (1 / units)
    assert (found.exact.value, found.exact.ci_low, found.exact.ci_high) == (1, pytest.approx(exact), 1)
    assert (found.ac2.ci_low, found.ac2.ci_high) == (pytest.approx(exact), 1)
    assert 0.4 < found.kappa.ci_low <= exact + 1e-9, "the spread of grades may lie in fewer units than there are"
    assert found.kappa.ci_high == 1
    never = coefficients.repeats(
        frame(np.array([[0.0] * 30, [1.0] * 30])).assign(item=lambda t: t["unit_id"]), **OPTIONS
    )
    assert (never.flip_rate.value, never.flip_rate.ci_low, never.flip_rate.ci_high) == (
        1,
        pytest.approx(0.025 ** (1 / 30)),
        1,
    )


def test_more_disagreements_lower_the_limits() -> None:
    grades = np.arange(80) // 20
    found = [two(list(grades), list(np.where(np.arange(80) % 20 < n, 1, grades))) for n in (0, 1, 3, 8)]
    exact = [each.exact.ci_low for each in found]
    assert exact == sorted(exact, reverse=True)
    assert exact[1] == pytest.approx(binomtest(77, 80).proportion_ci(0.95).low, abs=0.01)
    for name in ("exact", "kappa", "ac2"):
        perfect, *others = (getattr(each, name).ci_low for each in found)
        assert perfect > max(others)
        assert min(others[:2]) > 0.65, "one or three disagreements in 80 leave a judge well confirmed"


def test_a_coefficient_has_no_interval_if_the_grades_vary_in_too_few_units() -> None:
    """Of 20 units with three items each, two have grades above 0."""
    a = [0] * 54 + [3, 2, 3, 1, 2, 3]
    b = [0] * 53 + [1, 3, 3, 3, 1, 1, 3]
    table = frame(np.array([a, b], dtype=float))
    table["unit_id"] = [f"u{item // 3}" for item in table["item"]]
    found = coefficients.pair(table, "r0", "r1", grades=GRADES, **OPTIONS)
    assert found.kappa.value > 0.8
    assert found.kappa.why == found.alpha.why
    assert found.kappa.why == "no interval: nearly all differences between grades lie in 2 of 20 units"
    assert found.exact.why is found.ac2.why is None
    one_large = table.assign(unit_id=["u0" if item < 54 else f"u{item}" for item in table["item"]])
    why = coefficients.pair(one_large, "r0", "r1", grades=GRADES, **OPTIONS).exact.why
    assert why == "no interval: nearly all items belong to 1 of 7 units"


def test_an_icc_has_no_interval_if_the_items_do_not_differ_beyond_the_noise() -> None:
    rng = np.random.default_rng(4)
    noise = frame((rng.random((3, 40)) < 0.3).astype(float))
    found = coefficients.repeats(noise, **OPTIONS)
    assert found.icc_single.why == "no interval: the items do not differ beyond the noise of their grades"
    assert found.icc_single.value < 0.3
    assert found.flip_rate.ci_low < found.flip_rate.value < found.flip_rate.ci_high
    together = coefficients.panel(noise, grades=GRADES, **OPTIONS)
    assert together.alpha.why == found.icc_single.why


@pytest.mark.parametrize("simulate", ["cover", "repeat_cover", "panel_cover"])
@pytest.mark.parametrize("world", ["dirichlet, errors by bin", "heavy tails, errors by unit", "95% zeros spread"])
def test_intervals_of_agreement_cover_the_large_sample_value(simulate: str, world: str) -> None:
    """A small version of `simulations/simulate_agreement.py`, with 8 and 20 units."""
    for units in (8, 20):
        of = simulate_agreement.WORLDS[world]
        found = getattr(simulate_agreement, simulate)(of, units=units, runs=300, large=20_000)
        assert all(share >= 0.86 for share, given in found.values() if given > 0.2), (units, found)


def test_planted_items_catch_a_biased_judge() -> None:
    """A small version of `simulations/simulate_agreement.py`."""
    assert simulate_agreement.caught(up=0.3, down=0.1, items=200, runs=25) >= 0.85
    assert simulate_agreement.caught(up=0.2, down=0.2, items=200, runs=25) <= 0.2
