"""The rule that reads only length and place of the mark: it finds what is there to be found, and is at chance otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from autointerp.stats.giveaways import COLUMNS, balanced_accuracy

INTERVALS = {"confidence": 0.95, "resamples": 300, "seed": 0}


def items(
    make: Callable[[np.random.Generator, bool, int], tuple[float, float]], units: int = 30, each: int = 10
) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", n % 2 == 0, *make(rng, n % 2 == 0, u)) for u in range(units) for n in range(each)]
    return pd.DataFrame(rows, columns=[*COLUMNS])


@pytest.mark.parametrize(
    ("make", "least", "most"),
    [
        (lambda rng, truth, unit: (rng.integers(5, 48), rng.random()), 0.4, 0.57),
        (lambda rng, truth, unit: (rng.integers(5, 30) + 18 * truth, rng.random()), 0.8, 1),
        (lambda rng, truth, unit: (10 + unit + 2 * truth, rng.random()), 0.9, 1),
        (lambda rng, truth, unit: (48, rng.random() / 2 + 0.5 * truth), 0.9, 1),
        (lambda rng, truth, unit: (48, 0.5 + (rng.random() - 0.5) * (0.2 if truth else 1)), 0.7, 1),
    ],
    ids=["nothing", "length", "length within the unit", "place", "the middle of a window"],
)
def test_a_trace_is_found_if_there_is_one(
    make: Callable[[np.random.Generator, bool, int], tuple[float, float]], least: float, most: float
) -> None:
    estimate = balanced_accuracy(items(make), **INTERVALS)
    assert estimate.mean is not None
    assert least <= estimate.mean <= most
    assert estimate.n == 30


def test_each_unit_counts_once_and_classes_equally() -> None:
    """The first unit has a hundred items, of which 90 are of one class."""
    frame = items(lambda rng, truth, unit: (rng.integers(5, 48), rng.random()), units=20)
    many = pd.DataFrame([("many", n % 10 > 0, 48, 0.5) for n in range(100)], columns=[*COLUMNS])
    estimate = balanced_accuracy(pd.concat([frame, many]), **INTERVALS)
    assert estimate.n == 21
    assert estimate.mean is not None
    assert estimate.mean < 0.6


def test_units_with_one_class_are_left_out_and_too_few_units_have_no_figure() -> None:
    frame = items(lambda rng, truth, unit: (rng.integers(5, 48), rng.random()), units=1)
    lonely = pd.DataFrame([("one", True, 5, 0.5)] * 3, columns=[*COLUMNS])
    assert balanced_accuracy(pd.concat([frame, lonely]), **INTERVALS).mean is None
    assert balanced_accuracy(frame.iloc[:0], **INTERVALS).n == 0


def test_the_order_of_rows_does_not_matter() -> None:
    frame = items(lambda rng, truth, unit: (rng.integers(5, 30) + 6 * truth, rng.random()))
    assert balanced_accuracy(frame.sample(frac=1, random_state=1), **INTERVALS) == balanced_accuracy(frame, **INTERVALS)
