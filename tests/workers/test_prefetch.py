"""Threads that share queries for leases take every job that was leased."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from workers.prefetch import SharedLeases


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_each_leased_job_is_taken_by_one_thread(frequent_switches: None) -> None:
    shared, numbers, leased = SharedLeases[int](), count(), list[int]()

    def lease(most: int) -> list[int]:
        jobs = [next(numbers) for _ in range(most)]
        leased.extend(jobs)
        return jobs

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: shared.take("run", lease), range(8_000)))
    assert sorted(job for job in taken if job is not None) == sorted(leased)
    assert None not in taken


def test_a_failed_query_leaves_nothing_behind() -> None:
    shared = SharedLeases[int]()

    def fail(most: int) -> list[int]:
        raise ValueError(most)

    with pytest.raises(ValueError, match="1"):
        shared.take("run", fail)
    assert shared.take("run", lambda most: list(range(most))) == 0
