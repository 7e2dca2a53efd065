"""Contexts of units for readers: which are shown, which tokens of them, and activations as digits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

Row = dict[str, Any]

STRONGEST = 3
"""Strongest contexts kept for each unit, whether they were judged or not."""
WINDOW_TOKENS = 24
"""Number of tokens shown around the mark. The files hold the whole window."""


def shown_per_unit(n_units: int) -> int:
    """Number of judged exemplars shown per unit: 12, and fewer for many units, so that the page stays small enough to send."""
    return max(4, min(12, 12 * 250 // max(n_units, 1)))


def strongest_per_unit(n_units: int) -> int:
    """Number of strongest contexts shown per unit: `STRONGEST`, and one for many units."""
    return STRONGEST if n_units <= 500 else 1


def choose(judged: list[Row], limit: int, known: Collection[str] = ()) -> list[str]:
    """The ids of the judged exemplars that the page shows of a unit: some of every bin, then two of each of near, neighbours' and silent ones.

    Within a bin they are in the file's order, but those also judged in the shuffled arm come first, so that both grades can be compared.
    Those in `known` are left out: they are shown elsewhere.
    """
    arms: dict[str, set[str]] = defaultdict(set)
    bin_of: dict[str, int] = {}
    for row in judged:
        if row["exemplar_id"] not in known:
            arms[row["exemplar_id"]].add(row["arm"])
            bin_of[row["exemplar_id"]] = int(row["bin"])
    silent = [e for arm in ("near", "neighbour", "base_rate") for e in [e for e in arms if arm in arms[e]][:2]]
    by_bin: dict[int, list[str]] = defaultdict(list)
    active = (e for e in arms if not arms[e] & {"near", "neighbour", "base_rate"})
    for exemplar in sorted(active, key=lambda e: "shuffled" not in arms[e]):
        by_bin[bin_of[exemplar]].append(exemplar)
    in_turn: list[str] = []
    for turn in range(max((len(exemplars) for exemplars in by_bin.values()), default=0)):
        in_turn += [by_bin[bin_][turn] for bin_ in sorted(by_bin, reverse=True) if turn < len(by_bin[bin_])]
    return in_turn[: max(limit - len(silent), 1)] + silent


def bounds(n_tokens: int, mark: int) -> tuple[int, int]:
    """First and last (exclusive) of the `WINDOW_TOKENS` tokens around a mark that are shown of a window of `n_tokens`."""
    start = max(0, min(mark - WINDOW_TOKENS // 2, n_tokens - WINDOW_TOKENS))
    return start, min(n_tokens, start + WINDOW_TOKENS)


def heat(value: float | None, maximum: float | None) -> str:
    """The activation as one digit: 0 is silent, 1 to 9 divide (0, max] evenly."""
    if not value or not maximum or value <= 0:
        return "0"
    return str(min(9, int(9 * value / maximum) + 1))
