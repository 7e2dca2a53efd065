"""Jobs take turns: a quick one waits for one step of a long one, and no job is lost or cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.explorer.live.turns import StepFailed, Turns

jobs = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=8)


def steps(n: int) -> Iterator[int]:
    yield from range(n)


def taken(turns: Turns[int]) -> Iterator[tuple[int, int | None]]:
    while turns:
        yield turns.take()


@given(jobs)
def test_every_job_makes_all_its_steps_in_order_and_ends_once(some: list[tuple[bool, int]]) -> None:
    turns: Turns[int] = Turns()
    for number, (quick, n) in enumerate(some):
        turns.add(number, steps(n), quick=quick)
    found = list(taken(turns))
    for number, (_, n) in enumerate(some):
        assert [part for other, part in found if other == number] == [*range(n), None]


@given(st.integers(1, 5), st.integers(1, 4))
def test_a_quick_job_waits_for_one_step_of_the_long_ones(n_long: int, before: int) -> None:
    turns: Turns[int] = Turns()
    for number in range(n_long):
        turns.add(number, steps(50), quick=False)
    for _ in range(before):
        turns.take()
    turns.add(99, steps(1), quick=True)
    assert 99 in [turns.take()[0] for _ in range(2)]


def test_long_jobs_move_on_however_many_quick_ones_come() -> None:
    turns: Turns[int] = Turns()
    turns.add(0, steps(10), quick=False)
    order = []
    for number in range(1, 20):
        turns.add(number, steps(1), quick=True)
        order.append(turns.take()[0])
    assert order.count(0) >= 9


@given(jobs, st.data())
def test_a_cancelled_job_makes_no_further_step(some: list[tuple[bool, int]], data: st.DataObject) -> None:
    turns: Turns[int] = Turns()
    for number, (quick, n) in enumerate(some):
        turns.add(number, steps(n), quick=quick)
    gone = data.draw(st.integers(0, len(some) - 1))
    turns.cancel(gone)
    turns.cancel(1000)
    assert {number for number, _ in taken(turns)} == set(range(len(some))) - {gone}


def test_an_error_ends_its_own_job_alone() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    turns: Turns[int] = Turns()
    turns.add(1, broken(), quick=False)
    turns.add(2, steps(2), quick=False)
    assert turns.take() == (1, 1)
    turns.take()
    with pytest.raises(StepFailed) as failed:
        turns.take()
    assert (failed.value.number, str(failed.value.__cause__)) == (1, "broken")
    assert list(taken(turns)) == [(2, 1), (2, None)]
