"""Which of a unit's known events are judged, and the probability of each to be.

Events of one document resemble each other, and windows that overlap show the same text. So the bins take turns, from the top bin
down, and in its turn a bin draws an event of a document of which it has drawn least; of these, the one of lowest priority. An event
whose window overlaps one that was drawn for any bin is passed over.

The probability of an event is a product of three:

- that its document is on the judging side;
- that it is known. A known event would be known at any priority below a limit that its own priority does not change, so the
  probability is the limit's share of all priorities (rank conditioning: Cohen and Kaplan, "Summarizing Data using Bottom-k
  Sketches", PODC 2007, section 4);
- that it is drawn from the known events. At random priorities below their limits, the draw is repeated `REPEATS` times, and the
  probability is the share of all draws, the real one included, that take the event (Fattorini, "Applying the Horvitz-Thompson
  criterion in complex designs", Biometrika 93, 2006).

The last two vary with the priorities of other events in such a way that their inverse has the right mean: the sum of
1 / probability over the drawn events is an unbiased estimate of the number of events, and that of value / probability one of the
sum of their values (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REPEATS = 127
"""Repetitions of a draw. Sums weighted by 1 / probability are unbiased for any number of them."""
JUDGE_SHARE = 0.5
"""Probability of a document to be on the judging side."""


class KnownEvents(NamedTuple):
    """The known events (n,) of a unit on the judging side."""

    bin: NDArray[np.int64]
    document: NDArray[np.int64]
    first: NDArray[np.int64]
    """Ordinal of the window's first token."""
    end: NDArray[np.int64]
    """Ordinal after the window's last token."""
    priority: NDArray[np.float64]
    """From 0 to 1."""
    limit: NDArray[np.float64]
    """The priority below which the event would be known."""


def judged_sample(
    known: KnownEvents, per_bin: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices of up to `per_bin` events of each bin, from the lowest bin up and in the order of the draw, and their probabilities."""
    priority = known.limit * rng.random((1 + REPEATS, len(known.limit)))
    priority[0] = known.priority
    turn = _draw(known, priority, per_bin)
    chosen = np.flatnonzero(turn[0])
    chosen = chosen[np.lexsort([turn[0, chosen], known.bin[chosen]])]
    return chosen, (JUDGE_SHARE * known.limit * (turn > 0).mean(axis=0))[chosen]


def _draw(known: KnownEvents, priority: NDArray[np.float64], per_bin: int) -> NDArray[np.int64]:
    """The turn (draws, n), from 1, in which each of several draws takes each event; 0 for those that it does not take."""
    draws, n = priority.shape
    turn = np.zeros((draws, n + 1), dtype=np.int64)
    # What is left of each event's priority is infinite once it is drawn or overlaps a drawn one. The last column is padding.
    left = np.pad(priority, ((0, 0), (0, 1)), constant_values=np.inf)
    overlapping = _padded(_overlaps(known))
    bins = [np.flatnonzero(known.bin == bin_) for bin_ in np.unique(known.bin)[::-1]]
    places = [np.unique(known.document[events], return_inverse=True)[1] for events in bins]
    taken = [np.zeros((draws, len(events)), dtype=np.int64) for events in bins]  # of each event's document
    rows = np.arange(draws)
    for number in range(1, per_bin + 1):
        for events, place, n_taken in zip(bins, places, taken, strict=True):
            best = (left[:, events] + n_taken).argmin(axis=1)  # priorities are below 1
            event = events[best]
            drawing = np.isfinite(left[rows, event])
            if not drawing.any():
                continue
            turn[rows[drawing], event[drawing]] = number
            n_taken += drawing[:, None] & (place == place[best][:, None])
            left[rows[drawing, None], overlapping[event[drawing]]] = np.inf
    return turn[:, :n]


def _overlaps(known: KnownEvents) -> list[NDArray[np.int64]]:
    """For each event those whose windows overlap its own, itself included."""
    order = np.argsort(known.first, kind="stable")
    first = known.first[order]
    longest = int((known.end - known.first).max(initial=0))
    low = np.searchsorted(first, known.first - longest, side="right")
    high = np.searchsorted(first, known.end, side="left")
    near = [order[a:b] for a, b in zip(low, high, strict=True)]
    return [events[known.end[events] > start] for events, start in zip(near, known.first, strict=True)]


def _padded(lists: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The lists as rows of one array, filled up with their number."""
    width = max(map(len, lists), default=0)
    return np.array([np.pad(one, (0, width - len(one)), constant_values=len(lists)) for one in lists], dtype=np.int64)
