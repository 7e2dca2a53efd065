"""A mergeable sample of activations: fair in every activation bin, exact, and the same in whatever order events arrive.

Every event (unit, document, position) has a priority: a hash of the seed and the token, turned by an offset that is the unit's
own. For each unit, side and fine interval of activation the sketch keeps the k events of lowest priority. Such bottom-k samples
merge exactly (unite, keep the k lowest), so batches, shards and restarts cannot change the outcome. The bins depend on a unit's
maximum, known only at the end: fine intervals are equal parts of (0, s], s the power of two at or above the running maximum, and
pairs of them merge whenever s doubles, which is exact too. (Bottom-k sketches: Cohen and Kaplan, "Summarizing Data using
Bottom-k Sketches", PODC 2007.)

The tokens of lowest priority for a unit stand together in a ring of hashes, from the unit's own point on. So silent and weak
events, nearly all that there are, are found without looking at the others: what is too late in the ring cannot enter.

Documents are split by hash into an explaining and a judging side before anything is sampled, so the two never share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.harvest.activation_blocks import CELLS, Block, Events, MakeBlock, expand, where
from sae.harvest.bottom_k import HIGHEST, LOWEST, BottomK, Rows, hopeful, leading, lowest
from sae.harvest.parallel import Each, one_by_one
from sae.harvest.token_positions import TURN, Batch, Places, hash32

INTERVALS = 64
"""Fine intervals on (0, s], each of CELLS / INTERVALS cells, each with a bottom-k sample of its own."""
LANES = INTERVALS + 1
"""Lane 0 holds events of activation zero, lanes 1..INTERVALS the fine intervals, for each side."""
_CROWDED = 4
"""Events a lane, on average, above which it pays to leave most of them out before the rest are sorted."""
_FAINTEST = -100
"""Exponent of a unit that was never active; its reciprocal still fits in float32."""


@dataclass(frozen=True)
class Quota:
    """How many events are kept: `explain` and `judge` a fine interval, `quiet` of activation zero and `top` a side."""

    explain: int
    judge: int
    quiet: int
    top: int


class Sketch:
    """What one pass over a corpus, or a shard of it, leaves of U units.

    `histogram` (U, CELLS + 1) counts active events in equal parts of (0, 2**exponent]; `counts` adds the silent ones as column 0.
    `maximum` (U,), `exponent` (U,). `events` and `tops` hold the samples.
    """

    def __init__(self, unit_ids: Sequence[str], quota: Quota, *, window: int, seed: int, device: str = "cpu") -> None:
        n = len(unit_ids)
        self.unit_ids, self.quota, self.seed, self.window, self.device = tuple(unit_ids), quota, seed, window, device
        self.n_counted = 0
        self.maximum = torch.zeros(n, device=device)
        self.exponent = torch.full((n,), _FAINTEST, dtype=torch.int32, device=device)
        self.histogram = torch.zeros((n, CELLS + 1), dtype=torch.int32, device=device)
        per_lane = [quota.quiet, *[quota.explain] * INTERVALS, quota.quiet, *[quota.judge] * INTERVALS]
        self.events = BottomK(per_lane, n, window, self._lane_group, device)
        self.tops = BottomK([quota.top] * 2, n, window, lambda rows: rows.head.long(), device)
        self._offset = torch.tensor([hash32(f"{seed}/{u}") for u in unit_ids], dtype=torch.int32, device=device)
        self._aim_events()
        self._aim_tops()

    def update(self, batch: Batch, blocks: Iterable[MakeBlock], each: Each = one_by_one) -> None:
        """Take in one batch: all units once, in any blocks, `each` of them by itself. Contexts must not be given twice."""
        places = Places(batch, self.seed, self.window)
        self.n_counted += int(batch.counted.sum())
        each(lambda make: self._take_in(make(), places), blocks)
        if self.events.settle():
            self._aim_events()
        if self.tops.settle():
            self._aim_tops()

    @property
    def counts(self) -> Tensor:
        """The histogram as int64, with the silent events in column 0."""
        counts = self.histogram.long()
        counts[:, 0] = self.n_counted - counts.sum(dim=1)
        return counts

    def merge(self, other: Sketch) -> None:
        """Take in another sketch of the same units over other contexts. Exact: order and cuts do not matter."""
        if (self.unit_ids, self.quota, self.seed, self.window) != (
            other.unit_ids,
            other.quota,
            other.seed,
            other.window,
        ):
            raise ValueError("sketches of different units, quotas, windows or seeds cannot be merged")
        units = torch.arange(len(self.unit_ids), device=self.device)
        self._raise_scale(units, other.maximum)
        other._raise_scale(units, self.maximum)
        self.n_counted += other.n_counted
        self.histogram += other.histogram
        for mine, theirs in ((self.events, other.events), (self.tops, other.tops)):
            mine.merge(theirs)
        self._aim_events()
        self._aim_tops()

    def state(self) -> dict[str, np.ndarray]:
        """The sketch as plain arrays, canonical: equal samples give equal arrays."""
        arrays = {"n_counted": np.array(self.n_counted), "maximum": _np(self.maximum), "histogram": _np(self.histogram)}
        for name, kept in (("events", self.events), ("tops", self.tops)):
            rows, windows = kept.canonical()
            arrays |= {f"{name}.{field}": _np(column) for field, column in zip(Rows._fields, rows, strict=True)}
            arrays[f"{name}.windows"] = _np(windows.view(torch.int16))
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take `state()` back into a fresh sketch."""
        units = torch.arange(len(self.unit_ids), device=self.device)
        self._raise_scale(units, torch.from_numpy(arrays["maximum"]).to(self.device))
        self.n_counted = int(arrays["n_counted"])
        self.histogram = torch.from_numpy(arrays["histogram"]).to(self.device)
        for name, kept in (("events", self.events), ("tops", self.tops)):
            rows = Rows(*(torch.from_numpy(arrays[f"{name}.{field}"]).to(self.device) for field in Rows._fields))
            kept.add(rows, torch.from_numpy(arrays[f"{name}.windows"]).to(self.device).view(torch.bfloat16))
            kept.compact()
        self._aim_events()
        self._aim_tops()

    def _take_in(self, block: Block, places: Places) -> None:
        """Reads and writes nothing of units outside the block, but for the samples' lists of what waits."""
        units = block.units
        self._raise_scale(units, block.maxima())
        block.tally(self.histogram, torch.exp2(10.0 - self.exponent[units]))
        strong, high = self._strong[units], self._high[units]
        active = block.above(torch.minimum(strong, high))
        chosen = [active.take(where(active.value > strong.index_select(0, active.unit)))]
        chosen += self._early(block, places, strong)
        self._take_events(block, places, Events(*(torch.cat(parts) for parts in zip(*chosen, strict=True))))
        self._take_tops(block, places, active)

    def _early(self, block: Block, places: Places, strong: Tensor) -> list[Events]:
        """Silent and weak events early enough in their unit's ring to enter.

        While silent lanes are not full, their whole ring would do; its first part nearly always has silent events enough.
        """
        units = block.units
        start = ((TURN // 2 - self._offset[units].long()) % TURN).unsqueeze(1) + places.origin
        first = torch.searchsorted(places.ring, start)
        weak = torch.searchsorted(places.ring, start + self._weak_reach[units], right=True)
        silent = torch.searchsorted(places.ring, start + self._silent_reach[units], right=True)
        near = torch.maximum(weak, torch.minimum(silent, first + 2 * self.quota.quiet))
        found = [self._between(block, places, strong, first, near)]
        quiet = found[0].take(where(found[0].value == 0))
        head = 2 * quiet.unit + places.side.index_select(0, quiet.column)
        n_silent = torch.bincount(head, minlength=2 * len(units))
        wanting = (near < silent) & (n_silent.view(-1, 2) < self.quota.quiet)
        if bool(wanting.any()):
            found.append(self._between(block, places, strong, near, torch.where(wanting, silent, near)))
        return found

    def _between(self, block: Block, places: Places, strong: Tensor, low: Tensor, high: Tensor) -> Events:
        head, place = expand(low.flatten(), high.flatten())
        unit, column = head >> 1, places.order.index_select(0, place)
        value = block.at(unit, column)
        return Events(unit, column, value).take(where(value <= strong.index_select(0, unit)))

    def _take_events(self, block: Block, places: Places, events: Events) -> None:
        unit = block.units.index_select(0, events.unit)
        head = 2 * unit + places.side.index_select(0, events.column)
        group = head * LANES + self._lane(unit, events.value)
        priority = places.token.index_select(0, events.column) + self._offset.index_select(0, unit)
        may = where(priority <= self.events.admits.index_select(0, group))
        if len(may) > _CROWDED * len(block.units) * 2 * LANES:
            k, latest = (
                each.view(-1, 2 * LANES)[block.units].flatten() for each in (self.events.k, self.events.admits)
            )
            within = group + (events.unit - unit) * 2 * LANES
            may = may[hopeful(within[may], priority[may], k, latest)]
        events, head, group, priority = events.take(may), head[may], group[may], priority[may]
        keep = lowest(group, priority, places.ordinal.index_select(0, events.column), self.events.k)
        self._add(self.events, block, places, events.take(keep), head[keep], priority[keep])

    def _take_tops(self, block: Block, places: Places, active: Events) -> None:
        """The strongest event of each context, its first where several are alike."""
        high = self._high.index_select(0, block.units)
        active = active.take(where(active.value > high.index_select(0, active.unit)))
        n_contexts = len(places.batch.length)
        group = active.unit * n_contexts + places.context.index_select(0, active.column)
        most = active.value.new_zeros(len(block.units) * n_contexts).scatter_reduce_(0, group, active.value, "amax")
        best = where(active.value == most.index_select(0, group))
        active = active.take(best[where(leading(group[best], 1))])
        rank = -active.value.view(torch.int32)
        head = 2 * block.units.index_select(0, active.unit) + places.side.index_select(0, active.column)
        may = where(rank <= self.tops.admits.index_select(0, head))
        self._add(self.tops, block, places, active.take(may), head[may], rank[may])

    def _add(self, kept: BottomK, block: Block, places: Places, events: Events, head: Tensor, priority: Tensor) -> None:
        """Keep events with their windows."""
        column = events.column
        first, length = places.first.index_select(0, column), places.inside.index_select(0, column)
        windows = block.windows(events.unit, first, length, self.window)
        heard = windows.view(torch.int16).amax(dim=1) > 0
        slot = (heard.cumsum(0) * heard - 1).to(torch.int32)
        rows = Rows(
            head=head.to(torch.int32),
            priority=priority,
            token=places.ordinal.index_select(0, column),
            activation=events.value,
            start=(column - first).to(torch.int16),
            length=length.to(torch.int16),
            slot=slot,
        )
        kept.add(rows, windows.index_select(0, where(heard)))

    def _lane(self, unit: Tensor, activation: Tensor) -> Tensor:
        return (activation * torch.exp2(6.0 - self.exponent).index_select(0, unit)).ceil_().long()

    def _lane_group(self, rows: Rows) -> Tensor:
        return rows.head.long() * LANES + self._lane((rows.head >> 1).long(), rows.activation)

    def _aim_events(self) -> None:
        """Decide for each unit above which activation all events are looked at, and how far into the ring those below.

        Lanes 1..c are searched by priority, up to the latest that any of them still admits, and those above c by strength. c is
        chosen to give the fewest events to look at, judging by the events so far.
        """
        n = len(self.unit_ids)
        admits = self.events.admits.view(n, 2, LANES)
        latest = torch.cat([torch.full_like(admits[..., :1], LOWEST), admits[..., 1:].cummax(dim=2).values], dim=2)
        lanes = self.histogram[:, 1:].view(n, INTERVALS, -1).sum(dim=2, dtype=torch.float32)
        above = lanes.sum(dim=1, keepdim=True) - torch.nn.functional.pad(lanes.cumsum(dim=1), (1, 0))
        share = (latest.float() - LOWEST) / TURN
        cut = (above + self.n_counted * share.amax(dim=1)).argmin(dim=1)
        self._strong = cut * torch.exp2(self.exponent - 6.0)
        reach = latest.gather(2, cut.view(n, 1, 1).expand(n, 2, 1)).squeeze(2).long() - LOWEST
        self._weak_reach = torch.where(cut.unsqueeze(1) > 0, reach, -1)
        self._silent_reach = admits[..., 0].long() - LOWEST

    def _aim_tops(self) -> None:
        admits = self.tops.admits.view(-1, 2)
        least = torch.where(admits == HIGHEST, 0, -admits).view(torch.float32)
        least = torch.where(admits == LOWEST, torch.inf, least).amin(dim=1)
        self._high = torch.nextafter(least, torch.tensor(-1.0, device=least.device)).clamp_(min=0)

    def _raise_scale(self, units: Tensor, maximum: Tensor) -> None:
        """Grow the scales of `units` to cover a new maximum (u,), merging histogram cells and lanes in powers of two."""
        maximum = torch.maximum(self.maximum[units], maximum)
        self.maximum[units] = maximum
        mantissa, exponent = torch.frexp(maximum)
        needed = torch.where(mantissa == 0.5, exponent - 1, exponent).to(torch.int32)
        before = self.exponent[units]
        chosen = ((maximum > 0) & (needed > before)).nonzero().squeeze(1)
        if not len(chosen):
            return
        grown, shift = units[chosen], (needed - before)[chosen].clamp(max=11).unsqueeze(1)
        self.exponent[grown] = needed[chosen]
        cells = torch.zeros((len(grown), CELLS + 1), dtype=self.histogram.dtype, device=grown.device)
        self.histogram[grown] = cells.scatter_add_(1, _merged(CELLS, shift), self.histogram[grown])
        admits = self.events.admits.view(-1, 2, LANES)
        lanes = torch.full((len(grown), 2, LANES), HIGHEST, dtype=torch.int32, device=grown.device)
        target = _merged(INTERVALS, shift).unsqueeze(1).expand(-1, 2, -1)
        # What two lanes admit together is at most what either does.
        admits[grown] = lanes.scatter_reduce_(2, target, admits[grown], "amin")


def _merged(parts: int, shift: Tensor) -> Tensor:
    """Which of the parts 0..`parts` each becomes when the scale grows by 2**shift (n, 1); 0 stays."""
    part = torch.arange(1, parts + 1, device=shift.device).expand(len(shift), -1)
    return torch.nn.functional.pad(((part - 1) >> shift) + 1, (1, 0))


def _np(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())
