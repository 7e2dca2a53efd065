"""Bottom-k samples of many groups at once: for each group the rows that come first, and how late one may be to enter still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae.harvest.activation_blocks import expand, where

LOWEST, HIGHEST = -(2**31), 2**31 - 1
_PENDING = 50_000
"""Rows that may wait, however few there are, before they are sorted in."""


class Rows(NamedTuple):
    """Kept events as columns of n. `head` is twice the unit's number plus the side; `priority` orders a group's rows, and
    `token`, the ordinal in the corpus, breaks ties.

    The event's window begins `start` columns before the token, and `length` columns of it lie within the context. Its
    activations stand in row `slot` of the windows; a window that is silent throughout has slot -1.
    """

    head: Tensor
    priority: Tensor
    token: Tensor
    activation: Tensor
    start: Tensor
    length: Tensor
    slot: Tensor

    def take(self, index: Tensor) -> Rows:
        return Rows(*(column.index_select(0, index) for column in self))

    @staticmethod
    def empty(device: str) -> Rows:
        kinds = torch.int32, torch.int32, torch.int64, torch.float32, torch.int16, torch.int16, torch.int32
        return Rows(*(torch.zeros(0, dtype=kind, device=device) for kind in kinds))


class BottomK:
    """For each group, the rows that come first by (priority, token).

    Every unit has groups of the sizes `k`, one after another; `group_of` says which group a row is in, which may change over time.
    """

    def __init__(
        self, k: Sequence[int], units: int, window: int, group_of: Callable[[Rows], Tensor], device: str
    ) -> None:
        self.k = torch.tensor(k, dtype=torch.int32, device=device).repeat(units)
        self.rows = Rows.empty(device)
        self.admits = torch.full((units * len(k),), HIGHEST, dtype=torch.int32, device=device)
        """Highest priority that may still enter each group; a row above it cannot be among the lowest k."""
        self._group_of = group_of
        self._adding = threading.Lock()
        self._pending: list[Rows] = []
        self._n_pending = 0
        self._windows = torch.zeros((0, window), dtype=torch.bfloat16, device=device)
        self._free = torch.zeros(0, dtype=torch.int32, device=device)

    def add(self, rows: Rows, windows: Tensor) -> None:
        """Take in rows whose slots are those of `windows`. Several threads may."""
        with self._adding:
            slots = self._claim(len(windows))
            self._windows.index_copy_(0, slots.long(), windows)
            if len(slots):
                rows = rows._replace(slot=torch.where(rows.slot < 0, -1, slots[rows.slot.clamp(min=0).long()]))
            self._pending.append(rows)
            self._n_pending += len(rows.token)

    def settle(self) -> bool:
        """Sort in what is pending if it is much. Returns whether it was, and `admits` renewed."""
        if self._n_pending <= max(_PENDING, len(self.rows.token) // 2):
            return False
        self.compact()
        return True

    def compact(self) -> None:
        """Sort in what is pending, and drop what is not among the lowest."""
        rows = Rows(*(torch.cat(columns) for columns in zip(self.rows, *self._pending, strict=True)))
        self._pending, self._n_pending = [], 0
        order, group = ranked(self._group_of(rows), rows.priority, rows.token)
        found, size = torch.unique_consecutive(group, return_counts=True)
        end, k = size.cumsum(0), self.k.index_select(0, found)
        begin, full = end - size, where((size >= k) & (k > 0))
        last = (begin + k - 1).index_select(0, full)
        self.admits.fill_(HIGHEST).masked_fill_(self.k == 0, LOWEST)
        self.admits[found.index_select(0, full)] = rows.priority.index_select(0, order.index_select(0, last))
        _, late = expand(torch.minimum(begin + k, end), end)
        dropped = rows.slot.index_select(0, order.index_select(0, late))
        self._free = torch.cat([self._free, dropped[dropped >= 0]])
        keep = torch.ones(len(order), dtype=torch.bool, device=order.device).index_fill_(0, late, False)
        self.rows = rows.take(order.index_select(0, where(keep)))

    def merge(self, other: BottomK) -> None:
        """Take in another's rows, which are grouped alike."""
        rows, windows = other.canonical()
        self.add(rows, windows)
        self.compact()

    def canonical(self) -> tuple[Rows, Tensor]:
        """All rows in their groups' order, and the windows in the rows' order."""
        self.compact()
        heard = self.rows.slot >= 0
        slot = torch.where(heard, heard.cumsum(0) - 1, -1).to(torch.int32)
        return self.rows._replace(slot=slot), self._windows[self.rows.slot[heard].long()]

    def _claim(self, n: int) -> Tensor:
        """Slots for n windows."""
        if n > len(self._free):
            old = len(self._windows)
            more = max(n - len(self._free), old // 2)
            grown = self._windows.new_empty((old + more, self._windows.shape[1]))
            grown[:old] = self._windows
            self._windows = grown
            fresh = torch.arange(old, old + more, dtype=torch.int32, device=self._free.device)
            self._free = torch.cat([self._free, fresh])
        claimed, self._free = self._free[:n], self._free[n:]
        return claimed


def ranked(group: Tensor, priority: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """The order (n,) of rows by (group, priority, token), and their groups in that order."""
    key = (group << 32) + (priority.long() - LOWEST)
    ascending, order = key.sort()
    alike = ascending[1:] == ascending[:-1]
    if bool(alike.any()):
        none = alike.new_zeros(1)
        tied = where(torch.cat([none, alike]) | torch.cat([alike, none]))
        rows = order.index_select(0, tied)
        rows = rows[token.index_select(0, rows).argsort(stable=True)]
        order[tied] = rows[key.index_select(0, rows).argsort(stable=True)]
    return order, ascending >> 32


def leading(group: Tensor, k: Tensor | int) -> Tensor:
    """Which rows (n,), in the order of their groups, are among the first k of their group; k is one number, or one a row."""
    place = torch.arange(len(group), device=group.device) - k
    return (place < 0) | (group.index_select(0, place.clamp(0, max(0, len(group) - 1))) != group)


def lowest(group: Tensor, priority: Tensor, token: Tensor, k: Tensor | int) -> Tensor:
    """Indices of the rows that are among the k lowest of their group by (priority, token), in that order; k is one number, or
    one a group."""
    order, group = ranked(group, priority, token)
    return order.index_select(0, where(leading(group, k if isinstance(k, int) else k.index_select(0, group))))


def hopeful(group: Tensor, priority: Tensor, k: Tensor, latest: Tensor) -> Tensor:
    """Indices of rows among which are the k lowest of each group, and few others; `k` and `latest` (g,) are the groups'.

    Priorities are even from LOWEST to their group's `latest`, so that of n rows the k-th is expected at k/n of the way. A group
    that has fewer than k rows as early as a little after that is taken whole.
    """
    n = torch.bincount(group, minlength=len(k))
    share = (k + 2 * k.sqrt() + 2) / n
    bound = torch.where(share < 1, LOWEST + share * (latest.double() - LOWEST), HIGHEST).to(torch.int32)
    early = where(priority <= bound.index_select(0, group))
    short = torch.bincount(group.index_select(0, early), minlength=len(k)) < torch.minimum(n, k)
    if not bool(short.any()):
        return early
    return where(priority <= torch.where(short, HIGHEST, bound).index_select(0, group))
