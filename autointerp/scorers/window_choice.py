"""How scorers choose among a unit's windows: by strength, evenly, and by chance that a seed repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case
from autointerp.scorers.yes_no_items import draw

T = TypeVar("T")


def strongest(windows: Sequence[Exemplar]) -> list[Exemplar]:
    """Windows in order of falling activation."""
    return sorted(windows, key=lambda window: (-window.activation, window.exemplar_id))


def evenly(items: Sequence[T], n: int) -> list[T]:
    """At most `n` items at even distances, the first always and the last where n > 1."""
    if len(items) <= n:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, n - 1))] for i in range(n)]


def of_others(case: Case, n: int, salt: str) -> list[Exemplar]:
    """At most `n` windows of other units, each unit in turn. `salt` is the scorer's name."""
    rng = draw(case, salt)
    pools = [rng.sample(list(windows), len(windows)) for windows in case.others if windows]
    turns = [pool[turn] for turn in range(max(map(len, pools), default=0)) for pool in pools if turn < len(pool)]
    return turns[:n]


def answers(brought: Brought, step: int, n: int) -> list[Any]:
    """What a step brought for each of its `n` questions; None for those of which nothing is known."""
    known = list(brought[step]) if step < len(brought) else []
    return (known + [None] * n)[:n]


def peak(activations: Any) -> float | None:
    """The largest activation of a text that was read; None where it was not read or has no tokens."""
    return max(activations) if activations else None
