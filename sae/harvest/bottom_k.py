"""Bottom-k samples of many groups at once: for each group, its k clusters of lowest priority, with a few rows of each.

The rows of a group are in clusters: those of one document. A cluster's priority is the lowest of its rows. So however many rows one
document has, the sample has rows of k documents, if the group has rows of so many.

A bottom-k sample is exact under union: a cluster among the k lowest of A and B together is among the k lowest of A or of B. So rows
may arrive in any order and in any number of parts, samples may be merged, and groups may be united later: the result is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae.harvest.activation_blocks import true_indices

LOWEST, HIGHEST = -(2**31), 2**31 - 1
PER_CLUSTER = 4
"""Rows kept of each cluster: one to judge, others to know how many there are, and to judge if there are too few clusters."""
_PENDING = 50_000
"""Rows that may wait to be sorted in, however small the sample is."""
_CLUSTER_BITS = 40
"""Numbers of clusters are smaller than 2**40, so that one integer holds a group and a cluster."""


class SampleRows(NamedTuple):
    """Sampled events as columns (n,).

    `unit_split` is twice the unit's number plus the split. `priority` orders the rows of a group, and `token`, the ordinal in the
    corpus, breaks ties. `cluster` is the event's document, or -1 if it is a cluster of its own. The event's window begins `start` columns before the token, and `length` of its columns lie within the
    context. Its activations are row `slot` of the sample's windows; -1 stands for a window without any activation.
    """

    unit_split: Tensor
    priority: Tensor
    token: Tensor
    cluster: Tensor
    activation: Tensor
    start: Tensor
    length: Tensor
    slot: Tensor

    def take(self, index: Tensor) -> SampleRows:
        return SampleRows(*(column.index_select(0, index) for column in self))

    @staticmethod
    def empty(device: str) -> SampleRows:
        dtypes = (
            torch.int32, torch.int32, torch.int64, torch.int64, torch.float32, torch.int16, torch.int16, torch.int32,
        )  # fmt: skip
        return SampleRows(*(torch.zeros(0, dtype=dtype, device=device) for dtype in dtypes))


class BottomK:
    """For each group, the rows up to the first one of its k-th cluster by (priority, token), at most `PER_CLUSTER` of each cluster.

    Every unit has the same number of groups, of sizes `k`; group numbers count them unit after unit. `group_of` returns the group
    of each row. It may change over time, but only by uniting groups of one size.

    After `compact`, `rows` holds exactly these rows of all rows ever added.
    """

    def __init__(
        self, k: Sequence[int], units: int, window: int, group_of: Callable[[SampleRows], Tensor], device: str
    ) -> None:
        self.k = torch.tensor(k, dtype=torch.int32, device=device).repeat(units)
        self.rows = SampleRows.empty(device)
        self.priority_threshold = torch.full((units * len(k),), HIGHEST, dtype=torch.int32, device=device)
        """For each group an upper bound of the priority of its k-th cluster so far: a row above it cannot be in the sample."""
        self._group_of = group_of
        self._adding = threading.Lock()
        self._pending: list[SampleRows] = []
        self._n_pending = 0
        self._saved = torch.zeros(0, dtype=torch.bool, device=device)
        """Which of `rows` were in `unsaved` before."""
        self._n_saved = 0
        """How many of the pending parts were."""
        self._windows = torch.zeros((0, window), dtype=torch.bfloat16, device=device)
        self._free = torch.zeros(0, dtype=torch.int32, device=device)

    def add(self, rows: SampleRows, windows: Tensor) -> None:
        """Add rows whose slots are rows of `windows`. May be called from several threads."""
        with self._adding:
            slots = self._claim(len(windows))
            self._windows.index_copy_(0, slots.long(), windows)
            if len(slots):
                rows = rows._replace(slot=torch.where(rows.slot < 0, -1, slots[rows.slot.clamp(min=0).long()]))
            self._pending.append(rows)
            self._n_pending += len(rows.token)

    def compact_if_full(self) -> bool:
        """Compact if half as many rows wait as the sample has. Returns whether it did, and so renewed `priority_threshold`.

        Sorting costs time in proportion to all rows: this way each row added is sorted a few times at most.
        """
        if self._n_pending <= max(_PENDING, len(self.rows.token) // 2):
            return False
        self.compact()
        return True

    def compact(self) -> None:
        """Sort the pending rows in, drop those that are not in the sample, and renew the thresholds."""
        rows = SampleRows(*(torch.cat(columns) for columns in zip(self.rows, *self._pending, strict=True)))
        of_pending = [torch.full_like(part.token, n < self._n_saved) for n, part in enumerate(self._pending)]
        saved = torch.cat([self._saved, *of_pending]).bool()
        self._pending, self._n_pending, self._n_saved = [], 0, 0
        order, group = rank_rows(self._group_of(rows), rows.priority, rows.token)
        k = self.k.index_select(0, group)
        keep, is_kth = rows_of_first_clusters(group, rows.cluster.index_select(0, order), k)
        self.priority_threshold.fill_(HIGHEST).masked_fill_(self.k == 0, LOWEST)
        last = true_indices(is_kth)
        self.priority_threshold[group.index_select(0, last)] = rows.priority[order.index_select(0, last)]
        dropped = rows.slot.index_select(0, order.index_select(0, true_indices(~keep)))
        self._free = torch.cat([self._free, dropped[dropped >= 0]])
        kept = order.index_select(0, true_indices(keep))
        self.rows, self._saved = rows.take(kept), saved.index_select(0, kept)

    def merge(self, other: BottomK) -> None:
        """Add all rows of another sample with the same groups."""
        rows, windows = other.canonical()
        self.add(rows, windows)
        self.compact()

    def canonical(self) -> tuple[SampleRows, Tensor]:
        """All rows in the order of their groups, and the windows in the order of the rows: equal samples return equal arrays."""
        self.compact()
        return _own_windows(self.rows, self._windows)

    def unsaved(self) -> tuple[SampleRows, Tensor]:
        """The rows that may be in the sample and were not returned by an earlier call, and their windows.

        All that was returned so far, added to an empty sample, makes the same sample. May not be called while rows are added.
        """
        parts = [self.rows.take(true_indices(~self._saved)), *map(self._possible, self._pending[self._n_saved :])]
        self.mark_saved()
        return _own_windows(SampleRows(*(torch.cat(columns) for columns in zip(*parts, strict=True))), self._windows)

    def mark_saved(self) -> None:
        """Leave the rows added so far out of `unsaved`."""
        self._saved, self._n_saved = torch.ones_like(self._saved), len(self._pending)

    def _possible(self, rows: SampleRows) -> SampleRows:
        """The rows that may be in the sample."""
        threshold = self.priority_threshold.index_select(0, self._group_of(rows))
        return rows.take(true_indices(rows.priority <= threshold))

    def _claim(self, n: int) -> Tensor:
        """Slots for n windows. The store grows by half at least, so that copying it costs little per window."""
        if n > len(self._free):
            old = len(self._windows)
            more = max(n - len(self._free), old // 2)
            grown = self._windows.new_empty((old + more, self._windows.shape[1]))
            grown[:old] = self._windows
            self._windows = grown
            new_slots = torch.arange(old, old + more, dtype=torch.int32, device=self._free.device)
            self._free = torch.cat([self._free, new_slots])
        claimed, self._free = self._free[:n], self._free[n:]
        return claimed


def _own_windows(rows: SampleRows, windows: Tensor) -> tuple[SampleRows, Tensor]:
    """The rows with their windows alone, in the order of the rows."""
    has_activation = rows.slot >= 0
    slot = torch.where(has_activation, has_activation.cumsum(0) - 1, -1).to(torch.int32)
    own = rows.slot.index_select(0, true_indices(has_activation)).long()
    return rows._replace(slot=slot), windows.index_select(0, own)


def rank_rows(group: Tensor, priority: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """The order (n,) of rows by (group, priority, token), and their groups in that order."""
    # One sort of 64-bit keys; ties of priority are rare, so only the tied rows are sorted again, by token and then by key.
    key = (group << 32) + (priority.long() - LOWEST)
    ascending, order = key.sort()
    equals_next = ascending[1:] == ascending[:-1]
    if bool(equals_next.any()):
        false = equals_next.new_zeros(1)
        tied = true_indices(torch.cat([false, equals_next]) | torch.cat([equals_next, false]))
        rows = order.index_select(0, tied)
        rows = rows[token.index_select(0, rows).argsort(stable=True)]
        order[tied] = rows[key.index_select(0, rows).argsort(stable=True)]
    return order, ascending >> 32


def first_of_group(group: Tensor, k: Tensor | int) -> Tensor:
    """Mask (n,) of the rows that are among the first k of their group. Rows stand in the order of their groups; k is one number, or
    one a row."""
    place = torch.arange(len(group), device=group.device) - k
    return (place < 0) | (group.index_select(0, place.clamp(0, max(0, len(group) - 1))) != group)


def rows_of_first_clusters(group: Tensor, cluster: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (n,) of the rows that a sample keeps, and of those that are the first one of their group's k-th cluster.

    Rows stand in the order of their groups and, within a group, in the order of sampling; `k` (n,) is that of each row's group.
    """
    rank = torch.zeros_like(group)  # of each row within its cluster
    shared = true_indices(cluster >= 0)
    key, by_cluster = _cluster_key(group, cluster, shared).sort(stable=True)
    rank.index_copy_(0, shared.index_select(0, by_cluster), _places_in_runs(key))
    first = rank == 0
    n_first = first.cumsum(0)
    before = torch.where(_begins(group), n_first - 1, 0).cummax(0).values if len(group) else n_first
    n_clusters = n_first - before  # in the group up to the row
    is_kth = first & (n_clusters == k)
    return ((n_clusters < k) & (rank < PER_CLUSTER)) | is_kth, is_kth


def _cluster_key(group: Tensor, cluster: Tensor, rows: Tensor) -> Tensor:
    return (group.index_select(0, rows) << _CLUSTER_BITS) + cluster.index_select(0, rows)


def _begins(sorted_: Tensor) -> Tensor:
    """Mask (n,) of the elements that differ from the one before them."""
    begins = torch.ones_like(sorted_, dtype=torch.bool)
    torch.ne(sorted_[1:], sorted_[:-1], out=begins[1:])
    return begins


def _places_in_runs(sorted_: Tensor) -> Tensor:
    """The place (n,), from 0, of each element among its equals."""
    place = torch.arange(len(sorted_), device=sorted_.device)
    return place - torch.where(_begins(sorted_), place, 0).cummax(0).values if len(sorted_) else place


def lowest_of_group(group: Tensor, cluster: Tensor, priority: Tensor, token: Tensor, k: Tensor) -> Tensor:
    """Indices of the rows that a sample of these rows keeps, in the order of (group, priority, token). `k` is given per group."""
    order, group = rank_rows(group, priority, token)
    keep, _ = rows_of_first_clusters(group, cluster.index_select(0, order), k.index_select(0, group))
    return order.index_select(0, true_indices(keep))


def candidate_rows(group: Tensor, cluster: Tensor, priority: Tensor, k: Tensor, latest: Tensor) -> Tensor:
    """Indices of rows that include those of the k lowest clusters of each group and few others, found without sorting them all.

    `k` and `latest`, the highest priority that occurs, are given per group (g,).
    """
    # Priorities are uniform from LOWEST to `latest`, so of n rows the k-th lowest is expected at share k / n of the way, with a
    # standard deviation of about sqrt(k) / n. Twice as many rows and two deviations more have k clusters in nearly every group; all
    # rows of the others are kept.
    n = torch.bincount(group, minlength=len(k))
    share = (2 * k + 4 * k.sqrt() + 4) / n
    bound = torch.where(share < 1, LOWEST + share * (latest.double() - LOWEST), HIGHEST).to(torch.int32)
    early = true_indices(priority <= bound.index_select(0, group))
    in_cluster = cluster.index_select(0, early) >= 0
    clusters = torch.unique(_cluster_key(group, cluster, early[in_cluster])) >> _CLUSTER_BITS
    alone = group.index_select(0, early[~in_cluster])
    n_clusters = torch.bincount(torch.cat([clusters, alone]), minlength=len(k))
    too_few = n_clusters < torch.minimum(n, k)
    if not bool(too_few.any()):
        return early
    return true_indices(priority <= torch.where(too_few, HIGHEST, bound).index_select(0, group))
