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
from simulations.simulate_agreement import caught, cover
from support.results.tables import judgement, judgement_table
from support.sae import peers

from autointerp.stats import agreement
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


def two(a: list[int], b: list[int], **options) -> agreement.Agreement:
    return agreement.pair(frame(np.array([a, b], dtype=float), **options), "r0", "r1", grades=GRADES, **OPTIONS)


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
            ours = agreement.pair(frame(ratings, weights=weights), "r0", "r1", grades=GRADES, **OPTIONS)
            assert ours.kappa.value == pytest.approx(other["kappa"], abs=1e-9)
            if plain:
                assert ours.ac2.value == pytest.approx(other["ac2"], abs=1e-9)
                assert ours.alpha.value == pytest.approx(other["alpha"], abs=1e-9)
        all_of_them = agreement.panel(frame(ratings), grades=GRADES, **OPTIONS)
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
    found = agreement.pair(frame(ratings, units), "r0", "r1", grades=GRADES, **OPTIONS)
    again = frame(ratings, units)
    noise = agreement.repeats(again, **OPTIONS)
    text = json.dumps([x.model_dump() for x in (found, noise)], allow_nan=False)
    assert "NaN" not in text
    for one in (found, noise):
        for figure in vars(one).values():
            if isinstance(figure, agreement.Figure):
                assert (figure.ci_low is None) == (figure.ci_high is None) == bool(figure.why)
                if figure.ci_low is not None:
                    assert figure.value is not None
                    assert figure.ci_low <= figure.ci_high


def test_undefined_statistics_give_a_reason() -> None:
    same = two([3] * 6, [3] * 6)
    assert same.kappa == no_figure("undefined: all grades are 3")
    assert same.alpha.why == "undefined: all grades are 3"
    assert (same.exact.value, same.ac2.value) == (1.0, 1.0)
    assert same.exact.why == "no interval: the same in every unit"
    assert two([], []).exact.why == "undefined: no item was graded by both r0 and r1"
    assert two([2], [3]).kappa.why == "undefined: one item"
    assert two([2, 1], [3, 1]).exact.why == "no interval: fewer than 3 units"
    one = agreement.repeats(frame(np.array([[1.0, 2.0]])), **OPTIONS)
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
    found = agreement.repeats(scores, **OPTIONS)
    assert (found.n, found.per_item) == (40, 3.0)
    between, within = 3 * grades.mean(1).var(ddof=1), grades.var(1, ddof=1).mean()
    assert found.within_sd.value == pytest.approx(math.sqrt(within))
    differ = [a != b for row in grades for a, b in itertools.combinations(row, 2)]
    assert found.flip_rate.value == pytest.approx(np.mean(differ))
    assert found.icc_single.value == pytest.approx((between - within) / (between + 2 * within))
    assert found.icc_mean.value == pytest.approx(1 - within / between)
    assert found.icc_single.why == "no interval: fewer than 3 units"


def test_intervals_of_agreement_cover_the_large_sample_value() -> None:
    """A small version of `simulations/simulate_agreement.py`."""
    found = cover(units=50, per_unit=2, runs=40, resamples=300, large=30_000)
    assert all(share >= 0.8 for share in found.values()), found


def test_planted_items_catch_a_biased_judge() -> None:
    """A small version of `simulations/simulate_agreement.py`."""
    assert caught(up=0.3, down=0.1, items=200, runs=25, resamples=300) >= 0.85
    assert caught(up=0.2, down=0.2, items=200, runs=25, resamples=300) <= 0.2
