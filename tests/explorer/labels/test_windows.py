"""The order of a bin's examples is fair, whatever each of them stands for."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from autointerp.explorer.labels.windows import fair_order

numbers = st.floats(1e-6, 1 - 1e-6)
weights = st.floats(1, 1e5)


@given(st.lists(st.tuples(numbers, weights), max_size=30))
def test_every_example_has_one_place(examples: list[tuple[float, float]]) -> None:
    order = fair_order([u for u, _ in examples], [w for _, w in examples])
    assert sorted(order) == list(range(len(examples)))


@given(st.lists(numbers, min_size=1, max_size=30))
def test_equal_weights_leave_the_order_to_chance(uniform: list[float]) -> None:
    order = fair_order(uniform, [3.0] * len(uniform))
    assert [uniform[i] for i in order] == sorted(uniform, reverse=True)


def test_an_example_comes_first_as_often_as_the_events_that_it_stands_for() -> None:
    rng, stands_for, n = (
        random.Random(0),
        [1.0] * 4 + [8.0] * 2,
        4000,
    )  # 20 events, of which the first four are shown alone
    first = [fair_order([rng.random() for _ in stands_for], stands_for)[0] for _ in range(n)]
    shares = [first.count(place) / n for place in range(6)]
    assert all(abs(share - weight / 20) < 0.025 for share, weight in zip(shares, stands_for, strict=True))
