from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from simulations import worlds
from simulations.simulate_stopping import PAIRS, run_cover, unit_cover
from support.results.tables import judgement, judgement_table

from autointerp.spec.sections import Adaptive
from autointerp.stats import comparison, stopping

OPTIONS = {"bins": 5, "confidence": 0.95}


def judged(rounds: int, *, units: int = 20, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    kinds = (("feature", worlds.FEATURES), ("neuron", worlds.NEURONS))
    rows = pd.concat([worlds.table(k, worlds.draw(rng, w, units, 5, rounds)[0]) for k, w in kinds], ignore_index=True)
    return rows, worlds.units_of(rows)


def need(rows: pd.DataFrame, units: pd.DataFrame, look: int, **targets: float) -> stopping.Need:
    return stopping.needed(rows, units, Adaptive(**targets), look=look, **OPTIONS)


def test_before_the_first_look_every_cell_is_needed() -> None:
    rows, units = judged(1)
    found = need(rows.head(0), units, 0, unit=0.1)
    assert set(found.cells) == set(units["unit_id"])
    assert set(found.cells.values()) == {(1, 2, 3, 4, 5)}
    assert not found.done


def test_one_exemplar_per_bin_never_stops_a_unit() -> None:
    rows, units = judged(1)
    assert len(need(rows, units, 1, unit=3.0).cells) == len(units)


def test_units_stop_individually_with_all_their_bins() -> None:
    rows, units = judged(4)
    intervals = stopping.unit_intervals(stopping.cell_table(rows, units), 0.95)
    target = float(intervals["half_width"].median())
    found = need(rows, units, 4, unit=target)
    wide = set(intervals.index[intervals["half_width"] > target])
    assert set(found.cells) == wide
    assert 0 < len(wide) < len(units)
    assert set(found.cells.values()) == {(1, 2, 3, 4, 5)}
    assert found.why == (f"{len(wide)} of 40 units have an interval wider than ±{target:g}",)


def test_a_unit_with_a_single_grade_has_an_interval_of_some_width() -> None:
    rows, units = judged(2)
    same = rows.assign(score=rows["score"].mask(rows["unit_id"] == "feature-0", 3))
    interval = stopping.unit_intervals(stopping.cell_table(same, units), 0.95).loc["feature-0"]
    assert interval["mean"] == 3
    assert 0.05 < interval["half_width"] < 1


def test_unit_means_equal_those_of_the_headline() -> None:
    rows, units = judged(3)
    rows = rows.drop(rows.index[::5])
    units["bin_events"] = [[1] * 5] * len(units)
    ours = stopping.unit_intervals(stopping.cell_table(rows, units), 0.95)["mean"]
    theirs = comparison.unit_scores(rows, units)["mean_score"]
    assert ours.sort_index().to_numpy() == pytest.approx(theirs.sort_index().to_numpy())


def test_bins_stop_separately_for_each_kind() -> None:
    rows, units = judged(3)
    rows["score"] = rows["score"].mask((rows["kind"] == "neuron") & (rows["bin"] == 2), 1)
    found = need(rows, units, 3, bin=0.3)
    bins = {(u.split("-")[0], b) for u, many in found.cells.items() for b in many}
    assert ("neuron", 2) not in bins
    for kind, bin_ in bins:
        assert sum(u.startswith(kind) and bin_ in many for u, many in found.cells.items()) == 20


def test_a_run_stops_at_its_target_or_if_only_more_units_would_help() -> None:
    rows, units = judged(2)
    means = comparison.unit_scores(rows, units.assign(bin_events=[[1] * 5] * len(units)))
    by_kind = (means.loc[means["kind"] == kind, "mean_score"] for kind in ("feature", "neuron"))
    found = comparison.compare(*by_kind, confidence=0.95, scale=(0, 3))
    half = (found.ci_high - found.ci_low) / 2
    assert need(rows, units, 2, run=half * 1.2).done
    # With one exemplar per bin it is unknown how much of the spread comes from the items.
    once = rows.loc[rows["item"] == 0]
    assert len(need(once, units, 1, run=half * 0.6).cells) == 40
    far = need(rows, units, 2, run=half / 4)
    assert far.done
    assert "take more units" in far.why[0]


def test_cells_needed_by_any_target_are_needed() -> None:
    rows, units = judged(3)
    unit, bin_ = need(rows, units, 3, unit=0.3), need(rows, units, 3, bin=0.4)
    both = need(rows, units, 3, unit=0.3, bin=0.4)
    cells = [{(u, b) for u, many in n.cells.items() for b in many} for n in (unit, bin_, both)]
    assert cells[2] == cells[0] | cells[1]


def test_units_without_grades_are_needed_only_where_they_were_judged() -> None:
    rows = judgement_table([judgement("feature-0", b, None, item=i) for b in (1, 2) for i in range(2)])
    units = pd.DataFrame({"unit_id": ["feature-0", "feature-1"], "kind": ["feature"] * 2})
    found = need(rows, units, 2, unit=0.3, bin=0.3, run=0.3)
    assert dict(found.cells) == {"feature-0": (1, 2)}
    nothing = need(rows.head(0), units, 1, unit=0.3, run=0.3)
    assert nothing.done
    assert any("too few" in line for line in nothing.why)


def test_repeats_count_as_one_exemplar() -> None:
    rows, units = judged(2)
    twice = pd.concat([rows, rows.assign(repeat=1)])
    one, two = (stopping.unit_intervals(stopping.cell_table(r, units), 0.95) for r in (rows, twice))
    pd.testing.assert_frame_equal(one, two)


def test_expected_widths_are_close_to_observed_ones() -> None:
    wide, units = judged(6, units=150)
    spread = stopping.spread_of(stopping.cell_table(wide, units))
    assert spread["feature"].between == pytest.approx(0.9, abs=0.15)
    assert spread["feature"].within == pytest.approx(0.75, abs=0.1)
    rows, few = judged(3, units=60, seed=5)
    told = stopping.expected_widths(features=60, neurons=60, bins=5, per_bin=3, spread=spread, confidence=0.95)
    intervals = stopping.unit_intervals(stopping.cell_table(rows, few), 0.95)
    seen = intervals.loc[intervals.index.str.startswith("feature"), "half_width"].mean()
    assert told.unit == pytest.approx(seen, rel=0.2)
    means = [intervals.loc[intervals.index.str.startswith(kind), "mean"] for kind in ("feature", "neuron")]
    run = comparison.compare(*means, confidence=0.95, scale=(0, 3))
    assert told.run == pytest.approx((run.ci_high - run.ci_low) / 2, rel=0.2)
    alone = stopping.expected_widths(features=60, neurons=0, bins=5, per_bin=3, spread=spread, confidence=0.95)
    assert alone.run is None
    assert math.isclose(alone.unit, told.unit)


def test_intervals_of_units_cover_after_stopping() -> None:
    """A small version of `simulations/simulate_stopping.py`."""
    found, used = unit_cover(PAIRS["demo"], 0.4, units=120, bins=5, runs=2)
    assert all(0.9 <= share <= 0.99 for share in found.values()), found
    assert used < 12


@pytest.mark.slow
def test_the_difference_covers_after_stopping() -> None:
    """A small version of `simulations/simulate_stopping.py`."""
    share, _ = run_cover(PAIRS["demo"], Adaptive(run=0.5), units=30, bins=4, runs=30)
    assert share >= 0.8
