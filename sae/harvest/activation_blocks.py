"""Activations of a block of units at all tokens of a batch, dense or sparse, as the sketch looks at them.

Silent events outnumber active ones by far and are never listed: a block says which events are strong, how many there are of
each strength, and what stands at places that it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

CELLS = 1024
"""Cells of a unit's histogram that active events fall into; cell 0 is for silent ones and is not counted."""
_SPARSE = 1 / 8
"""Share of active events below which a dense block lists them."""


class Events(NamedTuple):
    """Events of counted tokens as columns of n: number of the `unit` in its block, `column` of the token, activation `value`."""

    unit: Tensor
    column: Tensor
    value: Tensor

    def take(self, index: Tensor) -> Events:
        return Events(*(part.index_select(0, index) for part in self))


class Block(Protocol):
    """Activations, 0 or more, of u units at the N tokens of a batch, context after context; `units` (u,) are their numbers.

    Windows are asked for last: they show tokens that are not counted too.
    """

    units: Tensor

    def maxima(self) -> Tensor:
        """The largest activation (u,) at a counted token."""

    def above(self, bound: Tensor) -> Events:
        """Active events of counted tokens whose activation exceeds their unit's bound (u,), unit after unit, column after column."""

    def at(self, unit: Tensor, column: Tensor) -> Tensor:
        """Activations (n,) of units of this block at counted columns."""

    def tally(self, histogram: Tensor, scale: Tensor) -> None:
        """Add the active events of counted tokens to `histogram` (units, CELLS + 1): each to cell ceil(activation * scale)."""

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        """Activations (n, width), bfloat16, at the `length` columns from `first` on, then zeros."""


MakeBlock = Callable[[], Block]
"""Computes a block, once and wherever it is taken in: blocks of one batch share no unit, so threads may work on several at once."""


class Dense:
    """A block as a matrix: `values` (u, N) are activations where they exceed `floor` (u,), 0 or more, and mean 0 elsewhere.

    It is the block's own to change: tokens that are not counted are set to 0 until windows are asked for.
    """

    def __init__(self, units: Tensor, values: Tensor, floor: Tensor, counted: Tensor) -> None:
        self.units, self._values, self._floor = units, values, floor
        self._aside = where(~counted)
        self._hidden = values.index_select(1, self._aside)
        values.index_fill_(1, self._aside, 0)
        active = _over(values, floor)
        few = int(torch.count_nonzero(active)) < _SPARSE * active.numel()
        self._listed = self._events(active) if few else None

    def maxima(self) -> Tensor:
        most = self._values.amax(dim=1)
        return most * (most > self._floor)

    def above(self, bound: Tensor) -> Events:
        if self._listed is not None:
            return _above(self._listed, bound)
        return self._events(_over(self._values, torch.maximum(bound, self._floor)))

    def at(self, unit: Tensor, column: Tensor) -> Tensor:
        value = self._values.view(-1).index_select(0, unit * self._values.shape[1] + column)
        return value * (value > self._floor.index_select(0, unit))

    def tally(self, histogram: Tensor, scale: Tensor) -> None:
        if self._listed is not None:
            return _tally(self._listed, self.units, histogram, scale)
        cell = (self._values * scale.unsqueeze(1)).clamp_(min=0).ceil_()
        if bool(self._floor.any()):
            cell *= _over(self._values, self._floor)
        place = cell.to(torch.int32)
        place += torch.arange(len(cell), device=cell.device, dtype=torch.int32).unsqueeze(1) * (CELLS + 1)
        counts = torch.bincount(place.view(-1), minlength=len(cell) * (CELLS + 1)).view(len(cell), -1)
        counts[:, 0] = 0
        histogram.index_add_(0, self.units, counts.to(histogram.dtype))

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        self._values.index_copy_(1, self._aside, self._hidden)
        begin = unit * self._values.shape[1] + first
        found = _runs(self._values.view(-1), begin, width)
        found *= found > self._floor.index_select(0, unit).unsqueeze(1)
        within = torch.ones((width + 1, width), device=found.device).tril(-1)
        return found.mul_(within.index_select(0, length)).to(torch.bfloat16)

    def _events(self, chosen: Tensor) -> Events:
        flat = where(chosen.view(-1))
        unit = flat.div(self._values.shape[1], rounding_mode="floor")
        return Events(unit, flat - unit * self._values.shape[1], self._values.view(-1).index_select(0, flat))


class Sparse:
    """A block as a list of its active events: `keys` (n,), ascending, are `unit * n_tokens + column`, `values` (n,) above 0."""

    def __init__(self, units: Tensor, keys: Tensor, values: Tensor, counted: Tensor) -> None:
        self.units, self._n_tokens = units, len(counted)
        self._keys, self._values = keys, values
        unit = keys.div(self._n_tokens, rounding_mode="floor")
        events = Events(unit, keys - unit * self._n_tokens, values)
        self._listed = events.take(where(counted.index_select(0, events.column)))

    def maxima(self) -> Tensor:
        most = torch.zeros(len(self.units), device=self._values.device)
        return most.scatter_reduce_(0, self._listed.unit, self._listed.value, "amax")

    def above(self, bound: Tensor) -> Events:
        return _above(self._listed, bound)

    def at(self, unit: Tensor, column: Tensor) -> Tensor:
        if not len(self._keys):
            return torch.zeros(len(unit), device=unit.device)
        key = unit * self._n_tokens + column
        place = torch.searchsorted(self._keys, key).clamp_(max=len(self._keys) - 1)
        return self._values.index_select(0, place) * (self._keys.index_select(0, place) == key)

    def tally(self, histogram: Tensor, scale: Tensor) -> None:
        _tally(self._listed, self.units, histogram, scale)

    def windows(self, unit: Tensor, first: Tensor, length: Tensor, width: int) -> Tensor:
        begin = unit * self._n_tokens + first
        low, high = torch.searchsorted(self._keys, torch.stack([begin, begin + length]))
        row, place = expand(low, high)
        found = torch.zeros((len(unit), width), dtype=torch.bfloat16, device=unit.device)
        column = self._keys.index_select(0, place) - begin.index_select(0, row)
        found.view(-1)[row * width + column] = self._values.index_select(0, place).to(torch.bfloat16)
        return found


def expand(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The integers of each range [low, high), one after another, and which range each is of."""
    counts = high - low
    row = torch.arange(len(counts), device=low.device).repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    return row, torch.arange(len(row), device=low.device) + (low - before).index_select(0, row)


def where(chosen: Tensor) -> Tensor:
    """Indices (int64) at which a mask (n,) is true. On a CPU numpy finds them several times faster than torch."""
    if chosen.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return chosen.nonzero().squeeze(1)


def _over(values: Tensor, bound: Tensor) -> Tensor:
    """Where values (u, N) exceed their unit's bound (u,). On a CPU numpy compares several times faster than torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy() > bound.numpy()[:, None])
    return values > bound.unsqueeze(1)


def _above(events: Events, bound: Tensor) -> Events:
    return events.take(where(events.value > bound.index_select(0, events.unit)))


def _tally(events: Events, units: Tensor, histogram: Tensor, scale: Tensor) -> None:
    cell = (events.value * scale.index_select(0, events.unit)).ceil_().long()
    cell += (units * (CELLS + 1)).index_select(0, events.unit)
    histogram.view(-1).index_add_(0, cell, torch.ones(1, dtype=histogram.dtype, device=cell.device).expand(len(cell)))


def _runs(flat: Tensor, begin: Tensor, width: int) -> Tensor:
    """The `width` values (n, width) from each place on; zeros after the last. Whole rows of an overlapping view are copied."""
    if len(begin) and int(begin.max()) + width > len(flat):
        flat = torch.nn.functional.pad(flat, (0, width))
    return flat.as_strided((max(0, len(flat) - width + 1), width), (1, 1)).index_select(0, begin)
