"""Which of a unit's known events are judged, and the probability of each to be.

Events of one document resemble each other, and windows that overlap show the same text, as do copies in different documents. So the bins
take turns, and in its turn a bin draws an event of a document of which it has drawn least; of these, the one of lowest priority. It draws
a second event of a document only if it has none of other documents, known or not. An event whose window overlaps one that was drawn for
any bin, or shows the same text, is passed over. The bins' order is random, higher bins tending to be early because they have few events: bin a
comes before bin b with probability a / (a + b). So no event is passed over for certain.

The probability of an event is a product of three:

- that its document is on the judging side;
- that it is known. A known event would be known at any priority below a limit that its own priority does not change, so the
  probability is the limit's share of all priorities (rank conditioning: Cohen and Kaplan, "Summarizing Data using Bottom-k
  Sketches", PODC 2007, section 4);
- that it is drawn from the known events. At random priorities below their limits and in random orders of bins, the draw is repeated,
  and the probability is the share of all draws, the real one included, that take the event (Fattorini, "Applying the Horvitz-Thompson
  criterion in complex designs", Biometrika 93, 2006).

The last two vary with the priorities of other events in such a way that their inverse has the right mean: the sum of
1 / probability over the drawn events is an unbiased estimate of the number of events, and that of value / probability one of the
sum of their values (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 128
"""Largest number of draws, the real one included. Sums weighted by 1 / probability are unbiased for any number that is large beside
1 / probability."""
_TAKEN = 640
"""Events that all draws together take of one bin, beyond which there are fewer draws, down to a sixteenth."""
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
    may_repeat: NDArray[np.bool_]
    """Whether all documents of the event's bin are known, so that a bin that has too few may draw another event of one."""
    same_text: NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)
    """Pairs of events (p, 2) that show the same text."""


def judged_sample(
    known: KnownEvents, per_bin: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices of up to `per_bin` events of each bin, from the lowest bin up and in the order of the draw, and their probabilities."""
    draws = int(np.clip(_TAKEN // max(per_bin, 1), DRAWS // 8, DRAWS))
    bins = np.unique(known.bin)
    order = (rng.exponential(size=(draws, len(bins))) / bins).argsort(axis=1)
    priority = known.limit * rng.random((draws, len(known.limit)))
    priority[0] = known.priority
    turn = _draw(known, priority, order, per_bin)
    chosen = np.flatnonzero(turn[0])
    chosen = chosen[np.lexsort([turn[0, chosen], known.bin[chosen]])]
    return chosen, (JUDGE_SHARE * known.limit * (turn > 0).mean(axis=0))[chosen]


def _draw(
    known: KnownEvents, priority: NDArray[np.float64], order: NDArray[np.int64], per_bin: int
) -> NDArray[np.int64]:
    """The turn (draws, n), from 1, in which each of several draws takes each event; 0 for those that it does not take.

    `order` (draws, bins) are the bins, numbered from 0, in the order of their turns.
    """
    draws, n = priority.shape
    turn = np.zeros((draws, n + 1), dtype=np.int64)  # the last column of this and other arrays is padding
    # What is left of each event's priority is infinite once it is drawn or excluded by a drawn one.
    left = np.pad(priority, ((0, 0), (0, 1)), constant_values=np.inf)
    taken = np.zeros((draws, n + 1), dtype=np.int64)  # from each event's document, for its bin
    bin_ = np.unique(known.bin, return_inverse=True)[1]
    events_of_bin = _padded([np.flatnonzero(bin_ == b) for b in range(order.shape[1])], n)
    alike = [np.flatnonzero((bin_ == bin_[i]) & (known.document == known.document[i])) for i in range(n)]
    siblings, excluded = _padded(alike, n), _padded(_excluded(known), n)
    may_repeat = np.append(known.may_repeat, False)
    rows = np.arange(draws)
    for number in range(1, per_bin + 1):
        for place in range(order.shape[1]):
            events = events_of_bin[order[:, place]]
            # Priorities are below 1, so documents of which less was taken come first.
            best = (left[rows[:, None], events] + taken[rows[:, None], events]).argmin(axis=1)
            event = events[rows, best]
            is_new = taken[rows, event] == 0
            drawing = np.flatnonzero(np.isfinite(left[rows, event]) & (is_new | may_repeat[event]))
            event = event[drawing]
            turn[drawing, event] = number
            taken[drawing[:, None], siblings[event]] += 1
            left[drawing[:, None], excluded[event]] = np.inf
    return turn[:, :n]


def _excluded(known: KnownEvents) -> list[NDArray[np.int64]]:
    """For each event those that cannot be drawn beside it, itself included."""
    excluded = [set(events.tolist()) for events in _overlaps(known)]
    for one, other in known.same_text.tolist():
        excluded[one].add(other)
        excluded[other].add(one)
    return [np.array(sorted(events), dtype=np.int64) for events in excluded]


def _overlaps(known: KnownEvents) -> list[NDArray[np.int64]]:
    """For each event those whose windows overlap its own, itself included."""
    order = np.argsort(known.first, kind="stable")
    first = known.first[order]
    longest = int((known.end - known.first).max(initial=0))
    low = np.searchsorted(first, known.first - longest, side="right")
    high = np.searchsorted(first, known.end, side="left")
    near = [order[a:b] for a, b in zip(low, high, strict=True)]
    return [events[known.end[events] > start] for events, start in zip(near, known.first, strict=True)]


def _padded(lists: list[NDArray[np.int64]], value: int) -> NDArray[np.int64]:
    """The lists as rows of one array, filled up with a value."""
    table = np.full((len(lists), max(map(len, lists), default=0)), value, dtype=np.int64)
    for row, one in zip(table, lists, strict=True):
        row[: len(one)] = one
    return table
