"""Active and silent windows of equal lengths, so that a window's length does not tell which of the two it is.

A unit that is often active is silent throughout in short windows only. So each silent window is compared with active ones of about its
own length, and the longer ones of such a group are cut to the length of the shortest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from autointerp.records import Exemplar

LEAST_RATIO = 0.5
"""Windows are compared if the shorter one has at least this share of the longer one's tokens."""


class Matched(NamedTuple):
    """Active and silent windows with the same distribution of lengths."""

    active: list[Exemplar]
    silent: list[Exemplar]


def matched(active: Sequence[Exemplar], silent: Sequence[Exemplar]) -> Matched:
    """As many active and silent windows as can be had with the same distribution of lengths, cut where they have to be.

    Each window of the smaller class gets equally many of the larger one. Windows without a partner are left out. All windows of a
    harvest of an earlier version are returned as they are: they were asked about so.
    """
    if not active or not silent or any(window.has_uncounted_activations for window in (*active, *silent)):
        return Matched(list(active), list(silent))
    few, many = sorted((active, silent), key=len)
    groups = _groups(list(few), list(many))
    cut = [[cropped(window, min(len(w.tokens) for w in group)) for window in group] for group in groups]
    small, large = [group[0] for group in cut], [window for group in cut for window in group[1:]]
    return Matched(small, large) if few is active else Matched(large, small)


def cropped(window: Exemplar, n: int) -> Exemplar:
    """The window cut to `n` tokens, in which the mark has the same relative place."""
    length = len(window.tokens)
    if n >= length:
        return window
    start = round((length - n) * window.mark / (length - 1))
    part = slice(start, start + n)
    return replace(
        window,
        tokens=window.tokens[part],
        token_activations=window.token_activations[part],
        mark=window.mark - start,
        uncounted=frozenset(i - start for i in window.uncounted if start <= i < start + n),
    )


def comparable(window: Exemplar, other: Exemplar) -> bool:
    """Whether two windows can be compared once the longer one is cut; in a harvest of an earlier version any two can."""
    return window.has_uncounted_activations or _ratio(window, other) >= LEAST_RATIO


def _groups(few: list[Exemplar], many: list[Exemplar]) -> list[list[Exemplar]]:
    """Each window of `few` with equally many of `many`: round after round each takes the nearest in length, as long as all can.

    The shortest choose first, because they have the fewest partners. In the first round those that find none are left out.
    """
    groups = [[window] for window in sorted(few, key=lambda w: (len(w.tokens), w.exemplar_id))]
    while many:
        left, taken = list(many), []
        for group in groups:
            nearest = max(left, key=lambda w: (_ratio(group[0], w), w.exemplar_id), default=None)
            if nearest is not None and comparable(group[0], nearest):
                left.remove(nearest)
                taken.append((group, nearest))
        is_first = len(groups[0]) == 1
        if not taken or (len(taken) < len(groups) and not is_first):
            break
        for group, window in taken:
            group.append(window)
        groups, many = [group for group, _ in taken], left
    return groups if groups and len(groups[0]) > 1 else []


def _ratio(window: Exemplar, other: Exemplar) -> float:
    shorter, longer = sorted((len(window.tokens), len(other.tokens)))
    return shorter / longer
