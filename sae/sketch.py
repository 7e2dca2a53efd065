"""A mergeable sample of activations: fair in every activation bin, exact, and the same in whatever order events arrive.

Every event (unit, document, position) has a priority, a hash of the seed and of those three. For each unit and each fine
interval of activation the sketch keeps the k events of lowest priority. Such bottom-k samples merge exactly (unite, keep the k
lowest), so batches, shards and restarts cannot change the outcome. The bins depend on a unit's maximum, known only at the end:
fine intervals are equal parts of (0, s], s the power of two at or above the running maximum, and pairs of them merge whenever
s doubles, which is exact too. (Bottom-k sketches: Cohen and Kaplan, "Summarizing Data using Bottom-k Sketches", PODC 2007.)

Documents are split by hash into an explaining and a judging side before anything is sampled, so the two never share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CELLS = 1024
"""Histogram cells on (0, s]; between 512 and 1024 of them lie below the maximum."""
INTERVALS = 64
"""Fine intervals on (0, s], each of CELLS / INTERVALS cells, each with a bottom-k sample of its own."""
LANES = INTERVALS + 1
"""Lane 0 holds events of activation zero, lanes 1..INTERVALS the fine intervals, for each side."""
EXPLAIN, JUDGE = 0, 1
"""The two sides that documents are split into."""
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1
_FAINTEST = -100
"""Exponent of a unit that was never active; its reciprocal still fits in float32."""


@dataclass(frozen=True)
class Quota:
    """How many events are kept: `explain` and `judge` a fine interval, `quiet` of activation zero and `top` a side."""

    explain: int
    judge: int
    quiet: int
    top: int


class Batch(NamedTuple):
    """Activations of U units on B contexts of T tokens, with where those tokens stand.

    `activations` (B, T, U), never negative; `counted` (B, T); `document` (B,); `position` (B,) of column `first` within its
    document; `ordinal` (B,) of that token in the corpus; `length` (B,) columns in use. Columns before `first` hold BOS.
    """

    activations: Tensor
    counted: Tensor
    document: Tensor
    position: Tensor
    ordinal: Tensor
    length: Tensor
    first: int


class Rows(NamedTuple):
    """Kept events as columns of n: `group` and `priority` order them, `token` is the ordinal in the corpus and breaks ties.

    `window` (n, W), in bfloat16, holds the unit's activations from `start` columns before the token on; NaN past the context's end.
    """

    unit: Tensor
    group: Tensor
    priority: Tensor
    token: Tensor
    activation: Tensor
    start: Tensor
    window: Tensor

    def take(self, index: Tensor) -> Rows:
        return Rows(*(column[index] for column in self))

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        return Rows(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


class BottomK:
    """For each group, the `k[group]` rows that come first by (priority, token)."""

    def __init__(self, k: Tensor, empty: Rows) -> None:
        self.k = k
        self.rows = empty
        self.admits = torch.full_like(k, _HIGHEST, dtype=torch.int32)
        """Highest priority that may still enter each group; a row above it cannot be among the lowest k."""
        self._pending: list[Rows] = []
        self._n_pending = 0

    def add(self, rows: Rows) -> None:
        self._pending.append(rows)
        self._n_pending += len(rows.token)
        if self._n_pending > max(50_000, len(self.rows.token) // 4):
            self.compact()

    def compact(self) -> None:
        rows = Rows.join([self.rows, *self._pending])
        self._pending, self._n_pending = [], 0
        keep = lowest(rows.group, rows.priority, rows.token, self.k)
        self.rows = rows.take(keep)
        counts = torch.bincount(self.rows.group, minlength=len(self.k))
        full = (counts >= self.k).nonzero().squeeze(1)
        last = counts.cumsum(0)[full] - 1
        self.admits.fill_(_HIGHEST)
        self.admits[full] = torch.where(self.k[full] > 0, self.rows.priority[last], _LOWEST).to(torch.int32)


def lowest(group: Tensor, priority: Tensor, token: Tensor, k: Tensor) -> Tensor:
    """Indices of the rows that are among the k[group] lowest of their group by (priority, token), sorted by group and rank."""
    order = token.argsort(stable=True)
    key = (group[order] << 32) + (priority[order].long() - _LOWEST)
    order = order[key.argsort(stable=True)]
    sorted_group = group[order]
    counts = torch.bincount(sorted_group, minlength=len(k))
    rank = torch.arange(len(order), device=group.device) - (counts.cumsum(0) - counts)[sorted_group]
    return order[rank < k[sorted_group]]


class Sketch:
    """What one pass over a corpus, or a shard of it, leaves of U units.

    `histogram` (U, CELLS + 1) counts events: column 0 those of activation zero, the others equal parts of (0, 2**exponent].
    `maximum` (U,), `exponent` (U,). `events` and `tops` hold the samples.
    """

    def __init__(self, unit_ids: Sequence[str], quota: Quota, *, window: int, seed: int, device: str = "cpu") -> None:
        n = len(unit_ids)
        self.unit_ids, self.quota, self.seed, self.window, self.device = tuple(unit_ids), quota, seed, window, device
        self.n_counted = 0
        self.maximum = torch.zeros(n, device=device)
        self.exponent = torch.full((n,), _FAINTEST, dtype=torch.int32, device=device)
        self.histogram = torch.zeros((n, CELLS + 1), dtype=torch.int64, device=device)
        per_lane = torch.tensor([[quota.quiet] + [kept] * INTERVALS for kept in (quota.explain, quota.judge)])
        self.events = BottomK(per_lane.flatten().repeat(n).to(device), _no_rows(window, device))
        self.tops = BottomK(torch.full((2 * n,), quota.top, device=device), _no_rows(window, device))
        self._unit_hash = torch.tensor([_hash32(f"{seed}/{u}") for u in unit_ids], dtype=torch.int32, device=device)

    def update(self, batch: Batch) -> None:
        """Take in one batch. Contexts must not be given twice."""
        active = batch.activations.masked_fill(~batch.counted.unsqueeze(-1), 0)
        peaks = active.amax(dim=1)
        self._raise_scale(peaks.amax(dim=0))
        self.n_counted += int(batch.counted.sum())
        side = (_mix(batch.document.to(torch.int32) ^ _hash32(f"{self.seed}/side")) >> 8) & 1
        self._update_events(batch, side)
        self._update_tops(batch, active, peaks, side)

    def merge(self, other: Sketch) -> None:
        """Take in another sketch of the same units over other contexts. Exact: order and cuts do not matter."""
        if (self.unit_ids, self.quota, self.seed, self.window) != (
            other.unit_ids,
            other.quota,
            other.seed,
            other.window,
        ):
            raise ValueError("sketches of different units, quotas, windows or seeds cannot be merged")
        self._raise_scale(other.maximum)
        other._raise_scale(self.maximum)
        self.n_counted += other.n_counted
        self.histogram += other.histogram
        for mine, theirs in ((self.events, other.events), (self.tops, other.tops)):
            theirs.compact()
            mine.add(theirs.rows)
            mine.compact()

    def state(self) -> dict[str, np.ndarray]:
        """The sketch as plain arrays, canonical: equal samples give equal arrays."""
        arrays = {"n_counted": np.array(self.n_counted), "maximum": _np(self.maximum), "histogram": _np(self.histogram)}
        for name, kept in (("events", self.events), ("tops", self.tops)):
            kept.compact()
            packed = kept.rows._replace(window=kept.rows.window.view(torch.int16))
            arrays |= {f"{name}.{field}": _np(column) for field, column in zip(Rows._fields, packed, strict=True)}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take `state()` back into a fresh sketch."""
        self._raise_scale(torch.from_numpy(arrays["maximum"]).to(self.device))
        self.n_counted = int(arrays["n_counted"])
        self.histogram = torch.from_numpy(arrays["histogram"]).to(self.device)
        for name, kept in (("events", self.events), ("tops", self.tops)):
            packed = Rows(*(torch.from_numpy(arrays[f"{name}.{field}"]).to(self.device) for field in Rows._fields))
            kept.add(packed._replace(window=packed.window.view(torch.bfloat16)))
            kept.compact()

    def _update_events(self, batch: Batch, side: Tensor) -> None:
        n_units = len(self.unit_ids)
        context, column = batch.counted.nonzero(as_tuple=True)
        values = batch.activations[context, column]
        cell = (values * torch.exp2(10.0 - self.exponent)).ceil_().to(torch.int32)
        unit = torch.arange(n_units, device=cell.device, dtype=torch.int32)
        flat = (cell + unit * (CELLS + 1)).flatten()
        self.histogram += torch.bincount(flat, minlength=n_units * (CELLS + 1)).view_as(self.histogram)
        cell.add_(CELLS // INTERVALS - 1).bitwise_right_shift_(4)
        group = cell.add_(unit * (2 * LANES)).add_((side[context] * LANES).to(torch.int32).unsqueeze(1))
        priority = _mix(self._token_hash(batch, context, column).unsqueeze(1) ^ self._unit_hash)
        admitted = self.events.admits.index_select(0, group.flatten()).view_as(group)
        row, which = (priority <= admitted).nonzero(as_tuple=True)
        chosen_group, chosen_priority = group[row, which].long(), priority[row, which]
        token = self._ordinal(batch, context[row], column[row])
        keep = lowest(chosen_group, chosen_priority, token, self.events.k)
        row, which = row[keep], which[keep]
        self.events.add(self._rows(batch, context[row], column[row], which, chosen_group[keep], chosen_priority[keep]))

    def _update_tops(self, batch: Batch, active: Tensor, peaks: Tensor, side: Tensor) -> None:
        unit = torch.arange(len(self.unit_ids), device=peaks.device)
        group = unit * 2 + side.long().unsqueeze(1)
        rank = -peaks.contiguous().view(torch.int32)
        context, which = ((peaks > 0) & (rank <= self.tops.admits[group])).nonzero(as_tuple=True)
        column = active[context, :, which].argmax(dim=1)
        self.tops.add(self._rows(batch, context, column, which, group[context, which], rank[context, which]))

    def _rows(
        self, batch: Batch, context: Tensor, column: Tensor, unit: Tensor, group: Tensor, priority: Tensor
    ) -> Rows:
        start = self._window_start(batch, context, column)
        columns = start.unsqueeze(1) + torch.arange(self.window, device=start.device)
        inside = columns < batch.length[context].unsqueeze(1)
        safe = columns.clamp(max=batch.activations.shape[1] - 1)
        window = batch.activations[context.unsqueeze(1), safe, unit.unsqueeze(1)].masked_fill(~inside, torch.nan)
        return Rows(
            unit=unit.to(torch.int32),
            group=group,
            priority=priority,
            token=self._ordinal(batch, context, column),
            activation=batch.activations[context, column, unit],
            start=(column - start).to(torch.int32),
            window=window.to(torch.bfloat16),
        )

    def _window_start(self, batch: Batch, context: Tensor, column: Tensor) -> Tensor:
        """First column of the window: the mark's place is a hash of the token alone, drawn alike for all units and arms."""
        place = _mix(self._token_hash(batch, context, column) ^ _hash32("place")).long().remainder(self.window)
        latest = (batch.length[context] - self.window).clamp(min=batch.first)
        return torch.minimum((column - place).clamp(min=batch.first), latest)

    def _token_hash(self, batch: Batch, context: Tensor, column: Tensor) -> Tensor:
        document = _mix(batch.document.to(torch.int32) ^ _hash32(f"{self.seed}/token"))
        position = (batch.position[context] + column - batch.first).to(torch.int32)
        return _mix(document[context] + position * 0x1E3779B1)

    def _ordinal(self, batch: Batch, context: Tensor, column: Tensor) -> Tensor:
        return batch.ordinal[context] + column - batch.first

    def _raise_scale(self, maximum: Tensor) -> None:
        """Grow units' scales to cover a new maximum, merging histogram cells and lanes in powers of two."""
        self.maximum = torch.maximum(self.maximum, maximum)
        mantissa, exponent = torch.frexp(self.maximum)
        needed = torch.where(mantissa == 0.5, exponent - 1, exponent).to(torch.int32)
        needed = torch.where(self.maximum > 0, torch.maximum(needed, self.exponent), self.exponent)
        grown = (needed > self.exponent).nonzero().squeeze(1)
        if not len(grown):
            return
        shift = (needed - self.exponent)[grown].clamp(max=11)
        cells = torch.arange(1, CELLS + 1, device=self.histogram.device).expand(len(grown), -1)
        target = ((cells - 1) >> shift.unsqueeze(1)).long() + 1
        old = self.histogram[grown, 1:].clone()
        self.histogram[grown, 1:] = 0
        self.histogram[grown] = self.histogram[grown].scatter_add(1, target, old)
        self.exponent = needed
        self.events.compact()
        rows = self.events.rows
        if len(rows.token):
            lane = (rows.activation * torch.exp2(6.0 - self.exponent[rows.unit.long()])).ceil().long()
            base = rows.group - rows.group % LANES
            self.events.rows = rows._replace(group=base + lane)
            self.events.compact()


def _no_rows(window: int, device: str) -> Rows:
    def empty(kind: torch.dtype) -> Tensor:
        return torch.zeros(0, dtype=kind, device=device)

    return Rows(
        unit=empty(torch.int32),
        group=empty(torch.int64),
        priority=empty(torch.int32),
        token=empty(torch.int64),
        activation=empty(torch.float32),
        start=empty(torch.int32),
        window=torch.zeros((0, window), dtype=torch.bfloat16, device=device),
    )


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers that spreads every input bit over all output bits."""
    x = x * -0x3D4D51CB
    x = x ^ (x >> 15)
    x = x * 0x2C1B3C6D
    return x ^ (x >> 13)


def _hash32(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little", signed=True)


def _np(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())
