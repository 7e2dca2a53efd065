"""Turns of jobs in one thread: a long one is interrupted after each of its steps, so that others are answered in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

P = TypeVar("P")


class Turns(Generic[P]):
    """Jobs as iterators of the parts of their answers. Quick ones and long ones take turns, and within each kind the first comes first."""

    def __init__(self) -> None:
        self._quick: deque[tuple[int, Iterator[P]]] = deque()
        self._long: deque[tuple[int, Iterator[P]]] = deque()
        self._quick_next = True

    def __bool__(self) -> bool:
        return bool(self._quick or self._long)

    def add(self, number: int, steps: Iterator[P], *, quick: bool) -> None:
        """Add a job."""
        (self._quick if quick else self._long).append((number, steps))

    def cancel(self, number: int) -> None:
        """Drop a job; nothing happens if it has ended."""
        self._quick = deque(job for job in self._quick if job[0] != number)
        self._long = deque(job for job in self._long if job[0] != number)

    def take(self) -> tuple[int, P | None]:
        """Make the next step of the job whose turn it is: its number and a part, or None if it has ended.

        Raises `StepFailed`, from the job's own error, after which the job is over. There must be a job.
        """
        jobs = self._quick if self._quick and (self._quick_next or not self._long) else self._long
        self._quick_next = jobs is self._long
        number, steps = jobs.popleft()
        try:
            part = next(steps, None)
        except Exception as error:
            raise StepFailed(number) from error
        if part is not None:
            jobs.append((number, steps))
        return number, part


class StepFailed(Exception):
    """A job's step has failed; the cause is the error. `number` is the job's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
