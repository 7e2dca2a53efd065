"""Activations of a block of units at all tokens of a batch, dense or sparse, behind the queries that the sketch needs.

Silent events outnumber active ones by far and are never listed. A block returns its strong events, adds all active ones to a
histogram, and looks up the activation at given tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sae.harvest.bins import CELLS

_SPARSE = 1 / 8
"""A dense block with a smaller share of active events lists them."""


class Events(NamedTuple):
    """Events at counted tokens as columns (n,): number of the `unit` within its block, `column` of the token, activation `value`."""

    unit: Tensor
    column: Tensor
    value: Tensor

    def take(self, index: Tensor) -> Events:
        return Events(*(part.index_select(0, index) for part in self))


class Block(Protocol):
    """Activations, 0 or more, of u units at the N tokens of a batch, context after context: 0 at tokens that are not counted.

    `units` (u,) are the units' numbers.
    """

    units: Tensor

    def maxima(self) -> Tensor:
        """The largest activation (u,) at a counted token."""

    def sums(self) -> Tensor:
        """The sum of the activations (u,) at counted tokens."""

    def events_above(self, bound: Tensor) -> Events:
        """Active events at counted tokens whose activation exceeds their unit's bound (u,), ordered by unit and column."""

    def values_at(self, unit: Tensor, column: Tensor) -> Tensor:
        """Activations (n,) of units of this block at counted columns."""

    def add_to_histogram(self, histogram: Tensor, scale: Tensor, split: Tensor) -> None:
        """Count the active events at counted tokens in `histogram` (units, 2, CELLS + 1), each in the split (N,) of its token and in
        cell ceil(activation * scale)."""

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        """Activations (n, width), bfloat16, at the `length` columns from `first` on, then zeros."""


MakeBlock = Callable[[], Block]
"""Computes a block when it is called. Blocks of one batch share no unit, so threads may work on several at once."""


class DenseBlock:
    """A block as a matrix: `values` (u, N) are activations where they exceed `floor` (u,), 0 or more, and mean 0 elsewhere.

    The block owns the matrix, and sets it to 0 at tokens that are not counted.
    """

    def __init__(self, units: Tensor, values: Tensor, floor: Tensor, counted: Tensor) -> None:
        self.units, self._values, self._floor = units, values, floor
        values.index_fill_(1, true_indices(~counted), 0)
        active = _exceeds(values, floor)
        few = int(torch.count_nonzero(active)) < _SPARSE * active.numel()
        self._active_events = self._events(active) if few else None

    def maxima(self) -> Tensor:
        largest = self._values.amax(dim=1)
        return largest * (largest > self._floor)

    def sums(self) -> Tensor:
        if self._active_events is not None:
            return _sums(self._active_events, len(self.units))
        return (self._values * _exceeds(self._values, self._floor)).sum(dim=1)

    def events_above(self, bound: Tensor) -> Events:
        if self._active_events is not None:
            return _above(self._active_events, bound)
        return self._events(_exceeds(self._values, torch.maximum(bound, self._floor)))

    def values_at(self, unit: Tensor, column: Tensor) -> Tensor:
        value = self._values.view(-1).index_select(0, unit * self._values.shape[1] + column)
        return value * (value > self._floor.index_select(0, unit))

    def add_to_histogram(self, histogram: Tensor, scale: Tensor, split: Tensor) -> None:
        if self._active_events is not None:
            return _add_events(self._active_events, self.units, histogram, scale, split)
        # Silent events fall into cell 0, which is cleared afterwards: cheaper than leaving them out.
        cell = (self._values * scale.unsqueeze(1)).clamp_(min=0).ceil_()
        if bool(self._floor.any()):
            cell *= _exceeds(self._values, self._floor)
        flat_cell = cell.to(torch.int32)
        flat_cell += torch.arange(len(cell), device=cell.device, dtype=torch.int32).unsqueeze(1) * (2 * (CELLS + 1))
        flat_cell += split.to(torch.int32) * (CELLS + 1)
        counts = torch.bincount(flat_cell.view(-1), minlength=len(cell) * 2 * (CELLS + 1)).view(len(cell), 2, -1)
        counts[..., 0] = 0
        histogram.index_add_(0, self.units, counts.to(histogram.dtype))

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        begin = unit * self._values.shape[1] + first
        windows = _runs(self._values.view(-1), begin, width)
        windows *= windows > self._floor.index_select(0, unit).unsqueeze(1)
        within = torch.ones((width + 1, width), device=windows.device).tril(-1)  # row n: n ones, then zeros
        return windows.mul_(within.index_select(0, length)).to(torch.bfloat16)

    def _events(self, chosen: Tensor) -> Events:
        flat = true_indices(chosen.view(-1))
        unit = flat.div(self._values.shape[1], rounding_mode="floor")
        return Events(unit, flat - unit * self._values.shape[1], self._values.view(-1).index_select(0, flat))


class SparseBlock:
    """A block as a list of its active events: `keys` (n,), ascending, are `unit * n_tokens + column`, `values` (n,) above 0."""

    def __init__(self, units: Tensor, keys: Tensor, values: Tensor, counted: Tensor) -> None:
        self.units, self._n_tokens = units, len(counted)
        unit = keys.div(self._n_tokens, rounding_mode="floor")
        column = keys - unit * self._n_tokens
        kept = true_indices(counted.index_select(0, column))
        self._active_events = Events(unit, column, values).take(kept)
        self._keys, self._values = keys.index_select(0, kept), self._active_events.value

    def maxima(self) -> Tensor:
        largest = torch.zeros(len(self.units), device=self._values.device)
        return largest.scatter_reduce_(0, self._active_events.unit, self._active_events.value, "amax")

    def sums(self) -> Tensor:
        return _sums(self._active_events, len(self.units))

    def events_above(self, bound: Tensor) -> Events:
        return _above(self._active_events, bound)

    def values_at(self, unit: Tensor, column: Tensor) -> Tensor:
        if not len(self._keys):
            return torch.zeros(len(unit), device=unit.device)
        key = unit * self._n_tokens + column
        place = torch.searchsorted(self._keys, key).clamp_(max=len(self._keys) - 1)
        return self._values.index_select(0, place) * (self._keys.index_select(0, place) == key)

    def add_to_histogram(self, histogram: Tensor, scale: Tensor, split: Tensor) -> None:
        _add_events(self._active_events, self.units, histogram, scale, split)

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        begin = unit * self._n_tokens + first
        low, high = torch.searchsorted(self._keys, torch.stack([begin, begin + length]))
        row, place = expand_ranges(low, high)
        windows = torch.zeros((len(unit), width), dtype=torch.bfloat16, device=unit.device)
        column = self._keys.index_select(0, place) - begin.index_select(0, row)
        windows.view(-1)[row * width + column] = self._values.index_select(0, place).to(torch.bfloat16)
        return windows


def expand_ranges(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the range, and the integer, for each integer of the ranges [low, high), one range after another."""
    counts = high - low
    row = torch.arange(len(counts), device=low.device).repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return row, torch.arange(len(row), device=low.device) + (low - before).index_select(0, row)


def true_indices(mask: Tensor) -> Tensor:
    """Indices (int64) at which a mask (n,) is true. On a CPU numpy finds them several times faster than torch."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().squeeze(1)


def _exceeds(values: Tensor, bound: Tensor) -> Tensor:
    """Mask of the values (u, N) that exceed their unit's bound (u,). On a CPU numpy compares several times faster than torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy() > bound.numpy()[:, None])
    return values > bound.unsqueeze(1)


def _sums(events: Events, n: int) -> Tensor:
    return torch.zeros(n, device=events.value.device).index_add_(0, events.unit, events.value)


def _above(events: Events, bound: Tensor) -> Events:
    return events.take(true_indices(events.value > bound.index_select(0, events.unit)))


def _add_events(events: Events, units: Tensor, histogram: Tensor, scale: Tensor, split: Tensor) -> None:
    cell = (events.value * scale.index_select(0, events.unit)).ceil_().long()
    cell += (units * 2 * (CELLS + 1)).index_select(0, events.unit)
    cell += (split * (CELLS + 1)).index_select(0, events.column)
    histogram.view(-1).index_add_(0, cell, torch.ones(1, dtype=histogram.dtype, device=cell.device).expand(len(cell)))


def _runs(flat: Tensor, begin: Tensor, width: int) -> Tensor:
    """The `width` values (n, width) from each of `begin` on, with zeros after the last value.

    The rows are copied out of an overlapping view, which is faster than a gather of single values.
    """
    if len(begin) and int(begin.max()) + width > len(flat):
        flat = torch.nn.functional.pad(flat, (0, width))
    return flat.as_strided((max(0, len(flat) - width + 1), width), (1, 1)).index_select(0, begin)
