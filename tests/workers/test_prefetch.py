"""Threads that share leases: each leased job reaches a thread, in whatever order they run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.prefetch import SharedLeases

THREADS, ROUNDS = 4, 1500


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_every_leased_job_reaches_a_thread() -> None:
    """One that reached none would stay leased as long as its worker lives, and its run would not end."""
    leases: SharedLeases[int] = SharedLeases()
    leased: list[int] = []
    start = threading.Barrier(THREADS)

    def lease(most: int) -> Sequence[int]:
        jobs = range(len(leased), len(leased) + most)
        leased.extend(jobs)
        return jobs

    def work(_: int) -> list[int | None]:
        taken = []
        for _round in range(ROUNDS):
            start.wait()
            taken.append(leases.take("run", lease))
        return taken

    with ThreadPoolExecutor(THREADS) as pool:
        taken = [job for jobs in pool.map(work, range(THREADS)) for job in jobs]
    assert sorted(leased) == sorted(job for job in taken if job is not None)
