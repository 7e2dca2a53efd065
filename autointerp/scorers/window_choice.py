"""How scorers choose among a unit's windows, and read what its steps returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from autointerp.records import Exemplar
from autointerp.scorers.base import Case, StepAnswers

T = TypeVar("T")


def strongest_first(windows: Sequence[Exemplar]) -> list[Exemplar]:
    """Windows in order of falling activation."""
    return sorted(windows, key=lambda window: (-window.activation, window.exemplar_id))


def evenly_spaced(items: Sequence[T], n: int) -> list[T]:
    """At most `n` items at equal distances, including the first, and the last if n > 1."""
    if len(items) <= n:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, n - 1))] for i in range(n)]


def windows_of_others(case: Case, n: int, scorer: str) -> list[Exemplar]:
    """At most `n` windows of other units, in random order, one of each unit in turn."""
    rng = case.rng(scorer)
    pools = [rng.sample(list(windows), len(windows)) for windows in case.others if windows]
    turns = [pool[turn] for turn in range(max(map(len, pools), default=0)) for pool in pools if turn < len(pool)]
    return turns[:n]


def step_results(answers: StepAnswers, step: int, n: int) -> list[Any]:
    """The results of a step's `n` questions or tasks; None for each that is missing."""
    known = list(answers[step]) if step < len(answers) else []
    return (known + [None] * n)[:n]


def peak(activations: Sequence[float] | None) -> float | None:
    """The largest activation of a text that was read; None if it was not read or has no tokens."""
    return max(activations) if activations else None
