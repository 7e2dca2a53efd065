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
    """As many active and silent windows as can be had with the same distribution of lengths, in their order, cut where they have to be.

    Each window of the smaller class gets equally many of the larger one. Windows without a partner are left out. Before this, windows
    lose the uncounted tokens at their beginning, at which nobody knows whether the unit is active. Windows of a harvest of an earlier
    version are returned as they are: they were asked about so.
    """
    if any(w.has_uncounted_activations for w in (*active, *silent)):
        return Matched(list(active), list(silent))
    active, silent = ([_from_first_counted(w) for w in part] for part in (active, silent))
    if len({len(w.tokens) for w in (*active, *silent)}) < 2:
        return Matched(active, silent)
    few, many = sorted((active, silent), key=len)
    lengths: dict[str, int] = {}
    for group in _groups(list(few), list(many)):
        lengths |= dict.fromkeys((w.exemplar_id for w in group), min(len(w.tokens) for w in group))
    cut = [[cropped(w, lengths[w.exemplar_id]) for w in part if w.exemplar_id in lengths] for part in (active, silent)]
    return Matched(*cut)


def cut_alike(windows: Sequence[Exemplar]) -> list[Exemplar]:
    """The windows of one question, all cut to the length of the shortest. None is left out or exchanged, so that questions asked before
    lengths were equal keep their numbers. Windows of a harvest of an earlier version are returned as they are."""
    if any(w.has_uncounted_activations for w in windows):
        return list(windows)
    shortest = min(len(w.tokens) for w in windows)
    return [cropped(w, shortest) for w in windows]


def cropped(window: Exemplar, n: int) -> Exemplar:
    """The window cut to `n` tokens, in which the mark has the same relative place."""
    length = len(window.tokens)
    if n >= length:
        return window
    return _part(window, round((length - n) * window.mark / (length - 1)), n)


def _from_first_counted(window: Exemplar) -> Exemplar:
    first = next((i for i in range(window.mark) if i not in window.uncounted), window.mark)
    return _part(window, first, len(window.tokens) - first) if first else window


def _part(window: Exemplar, start: int, n: int) -> Exemplar:
    part = slice(start, start + n)
    return replace(
        window,
        tokens=window.tokens[part],
        token_activations=window.token_activations[part],
        mark=window.mark - start,
        uncounted=frozenset(i - start for i in window.uncounted if start <= i < start + n),
    )


def comparable(window: Exemplar, other: Exemplar) -> bool:
    """Whether `matched` can compare two windows; in a harvest of an earlier version any two can be compared."""
    ratio = _ratio(_from_first_counted(window), _from_first_counted(other))
    return window.has_uncounted_activations or ratio >= LEAST_RATIO


def _groups(few: list[Exemplar], many: list[Exemplar]) -> list[list[Exemplar]]:
    """Each window of `few` with equally many of `many`: round after round each takes the nearest in length, as long as all can.

    In the first round windows that find no partner are left out; the shortest choose first, because they have the fewest.
    """
    groups, left = [[window] for window in sorted(few, key=lambda w: (len(w.tokens), w.exemplar_id))], many
    while groups and left:
        partners = _partners([group[0] for group in groups], left)
        found = [(group, partner) for group, partner in zip(groups, partners, strict=True) if partner is not None]
        is_first = len(groups[0]) == 1
        if len(found) < len(groups) and not is_first:
            break
        groups = [[*group, partner] for group, partner in found]
        left = [window for window in left if all(window is not partner for _, partner in found)]
    return groups


def _partners(windows: list[Exemplar], candidates: list[Exemplar]) -> list[Exemplar | None]:
    """For each window in turn the free candidate that is nearest in length; None if no free one can be compared with it."""
    free, partners = list(candidates), list[Exemplar | None]()
    for window in windows:
        nearest = max(free, key=lambda other: (_ratio(window, other), other.exemplar_id), default=None)
        if nearest is not None and not comparable(window, nearest):
            nearest = None
        if nearest is not None:
            free.remove(nearest)
        partners.append(nearest)
    return partners


def _ratio(window: Exemplar, other: Exemplar) -> float:
    shorter, longer = sorted((len(window.tokens), len(other.tokens)))
    return shorter / longer
