"""Chooses silent windows that are like a unit's judged ones in length and in the place of the mark.

The windows that are least active are the shortest: fewer tokens, fewer activations. A judge could then tell silent windows from active
ones by their length. So of the candidates, which are a uniform sample of a unit's silent events, each judged window in turn chooses
one of about its own length, and only among those does silence decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

SAME_LENGTH = 0.02
"""Windows whose lengths differ by at most this share of the longer one count as equally long: those below 50 tokens if they are so."""


def alike(
    judged: npt.NDArray[np.integer],
    candidates: npt.NDArray[np.integer],
    peak: npt.NDArray[np.integer],
    n: int,
    accept: Callable[[int], bool] = lambda _: True,
) -> Iterator[int]:
    """Indices of at most `n` candidates, those that come first being like a fair sample of the judged windows.

    `judged` (j, 2) and `candidates` (c, 2) are the lengths of windows and the places of their marks; `peak` (c,) orders the candidates
    by their largest activation, 0 for a window without any. Of candidates of the same length the least active one is chosen, and of
    those that are equally active the one whose mark is nearest to the judged window's. Without judged windows the least active ones.
    A candidate that `accept` refuses is passed over.
    """
    free = np.ones(len(candidates), dtype=bool)
    targets = _spread_out(judged)
    order = np.argsort(peak, kind="stable")
    for number in range(min(n, len(candidates))):
        if len(targets):
            length, mark = targets[number % len(targets)]
            unlike = np.abs(candidates[:, 0] - length) / np.maximum(candidates[:, 0], length)
            place = np.abs(candidates[:, 1] / np.maximum(candidates[:, 0] - 1, 1) - mark / max(length - 1, 1))
            order = np.lexsort([place, peak, np.where(unlike <= SAME_LENGTH, 0, unlike)])
        for i in order[free[order]].tolist():
            free[i] = False
            if accept(i):
                yield i
                break


def _spread_out(judged: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """The windows in an order in which every beginning covers all of them evenly: by the golden section."""
    return judged[np.argsort((np.arange(len(judged)) * 0.618033988749895) % 1, kind="stable")]
