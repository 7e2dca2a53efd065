"""Figures as cells of a table: each with its interval, or with the reason why one of the two is missing."""

from __future__ import annotations

from autointerp.formatting import percent
from autointerp.report import cells
from autointerp.stats.estimates import Figure, MeanEstimate


def mean(value: float | None, low: float | None, why: str | None, freedom: float | None = None) -> MeanEstimate:
    return MeanEstimate(mean=value, ci_low=low, ci_high=low and low + 1, n=5, why=why, freedom=freedom)


def test_a_figure_stands_with_its_interval_or_with_the_reason() -> None:
    assert cells.interval(mean(2.0, 1.5, None)) == "2.00 [1.50, 2.50]"
    assert cells.interval(mean(2.0, 1.5, None, freedom=4.0)) == "2.00 [1.50, 2.50] (few units)"
    assert (
        cells.interval(mean(2.0, None, "no interval: fewer than 3 units")) == "2.00 (no interval: fewer than 3 units)"
    )
    assert cells.interval(mean(None, None, "nothing was judged")) == "n/a (nothing was judged)"
    share = Figure(value=0.5, ci_low=0.25, ci_high=0.75, why=None)
    assert cells.interval(share, "value", form=percent) == "50% [25%, 75%]"


def test_the_reason_of_a_field_comes_before_that_of_the_part() -> None:
    part = mean(None, None, "no unit has a value").model_copy(update={"absent": {"mean": "all are dead"}})
    assert cells.value(part, "mean") == "n/a (all are dead)"
    assert cells.value(mean(None, None, None), "mean") == "n/a"


def test_undefined_units_are_counted_by_reason() -> None:
    assert cells.counted(0, {}) == "0"
    assert cells.counted(57, {"no silent window": 57}) == "57 (no silent window)"
    assert cells.counted(60, {"dead": 3, "no silent window": 57}) == "60 (57: no silent window; 3: dead)"
