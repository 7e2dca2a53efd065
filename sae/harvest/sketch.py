"""A mergeable sample of activations: random within every activation bin, exact, and the same in whatever order events arrive.

Every event (unit, document, position) has a priority: a hash of the seed and the token, shifted by an offset of the unit's own. For each
unit, split and fine interval of activation the sketch keeps events of the k documents of lowest priority, that of their first event: the
events of one document resemble each other. Such bottom-k samples merge exactly (unite, keep the k lowest), so batches, shards and
restarts cannot change the outcome. The bins depend on a unit's maximum, known only at the end: fine intervals are equal parts of (0, s],
s the power of two at or above the running maximum, and pairs of them merge whenever s doubles, which is exact too. (Bottom-k sketches:
Cohen and Kaplan, "Summarizing Data using Bottom-k Sketches", PODC 2007.)

Nearly all events are silent or weak, and nearly all of those come too late in priority to be kept. They are found without looking at the
others: in order of their hashes the tokens form a ring, and the tokens of lowest priority for a unit follow the unit's own start on it.

Documents are split by hash into an explaining and a judging half before anything is sampled, so the two never share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.harvest.activation_blocks import Block, Events, MakeBlock, expand_ranges, true_indices
from sae.harvest.bins import CELLS, FAINTEST
from sae.harvest.bottom_k import HIGHEST, LOWEST, BottomK, SampleRows, candidate_rows, first_of_group, lowest_of_group
from sae.harvest.parallel import ForEach, one_by_one
from sae.harvest.token_positions import RING_SIZE, BatchLayout, TokenPositions, hash32
from sae.harvest.uncounted import UncountedTokens

INTERVALS = 64
"""Fine intervals on (0, s], each of CELLS / INTERVALS cells, each with a bottom-k sample of its own."""
STRATA = INTERVALS + 1
"""Groups that a unit's events of one split are sampled in: stratum 0 for silent events, 1..INTERVALS for the fine intervals."""
_CROWDED = 4
"""Events per stratum, on average, above which it pays to leave most of them out before the rest are sorted."""
Arrays = Mapping[str, np.ndarray]
STORED_FIELDS = ("head", *SampleRows._fields[1:])
"""Names of a sample's columns in `Sketch.state` and so in the files of shards: `unit_split` is called `head` there."""


@dataclass(frozen=True)
class Quota:
    """Samples kept per unit: of `explain` and `judge` documents per fine interval of their split, of `silent` silent events and `top`
    contexts per split."""

    explain: int
    judge: int
    silent: int
    top: int


class Sketch:
    """What one pass over a corpus, or over a shard of it, keeps of U units.

    `histogram` (U, 2, CELLS + 1) counts active events by split in equal parts of (0, 2**exponent]; `counts` (U, CELLS + 1) are those of
    both splits, with the silent ones in column 0.
    `maximum` (U,), `exponent` (U,). `events` and `tops` hold the samples.

    After any prefix of the batches, in any order, `events` holds, for each unit, split and stratum, the events by (priority, token) up
    to the first one of the k-th document, at most `PER_CLUSTER` of each; and `tops` the strongest event of each of the `top` strongest contexts of a unit and split.
    """

    positions_of = TokenPositions

    def __init__(self, unit_ids: Sequence[str], quota: Quota, *, window: int, seed: int, device: str = "cpu") -> None:
        n = len(unit_ids)
        self.unit_ids, self.quota, self.seed, self.window, self.device = tuple(unit_ids), quota, seed, window, device
        self.n_counted, self.uncounted = 0, UncountedTokens()
        self.maximum = torch.zeros(n, device=device)
        self.exponent = torch.full((n,), FAINTEST, dtype=torch.int32, device=device)
        self.histogram = torch.zeros((n, 2, CELLS + 1), dtype=torch.int32, device=device)
        per_stratum = [quota.silent, *[quota.explain] * INTERVALS, quota.silent, *[quota.judge] * INTERVALS]
        self.events = BottomK(per_stratum, n, window, self._stratum_group, device)
        self.tops = BottomK([quota.top] * 2, n, window, lambda rows: rows.unit_split.long(), device)
        self._offset = torch.tensor([hash32(f"{seed}/{u}") for u in unit_ids], dtype=torch.int32, device=device)
        self._plan_event_search()
        self._plan_top_search()

    def update(self, batch: BatchLayout, blocks: Iterable[MakeBlock], for_each: ForEach = one_by_one) -> None:
        """Add one batch: `blocks` hold each unit exactly once. No context may be added twice."""
        positions = self.positions_of(batch, self.seed, self.window)
        self.n_counted += int(batch.counted.sum())
        self.uncounted.add(positions.ordinal.index_select(0, true_indices(~batch.counted)))
        for_each(lambda make: self._add_block(make(), positions), blocks)
        if self.events.compact_if_full():
            self._plan_event_search()
        if self.tops.compact_if_full():
            self._plan_top_search()

    @property
    def counts(self) -> Tensor:
        """The histogram as int64, with the silent events in column 0."""
        counts = self.histogram.sum(dim=1)
        counts[:, 0] = self.n_counted - counts.sum(dim=1)
        return counts

    def merge(self, other: Sketch) -> None:
        """Add another sketch of the same units over other contexts.

        Exact: neither the order of merges nor the cut into shards changes the result. Raises `ValueError` if units, quotas,
        windows or seeds differ.
        """
        same = ("unit_ids", "quota", "seed", "window")
        if any(getattr(self, name) != getattr(other, name) for name in same):
            raise ValueError("sketches of different units, quotas, windows or seeds cannot be merged")
        units = torch.arange(len(self.unit_ids), device=self.device)
        # With the larger of both scales their cells and strata are the same intervals: histograms add, samples unite.
        self._raise_scale(units, other.maximum)
        other._raise_scale(units, self.maximum)
        self.n_counted += other.n_counted
        self.uncounted.merge(other.uncounted)
        self.histogram += other.histogram
        for mine, theirs in ((self.events, other.events), (self.tops, other.tops)):
            mine.merge(theirs)
        self._plan_event_search()
        self._plan_top_search()

    def state(self) -> dict[str, np.ndarray]:
        """The sketch as plain arrays in canonical order: equal samples return equal arrays."""
        return self.totals() | _stored("events", *self.events.canonical()) | _stored("tops", *self.tops.canonical())

    def totals(self) -> dict[str, np.ndarray]:
        """The part of `state` that is not sampled: all counts, and the tokens that were not counted."""
        return {
            "n_counted": np.array(self.n_counted),
            "maximum": _numpy(self.maximum),
            "histogram": _numpy(self.histogram),
            **self.uncounted.state(),
        }

    def unsaved(self) -> dict[str, np.ndarray]:
        """The sampled events, named as in `state`, that no earlier call returned and that were not restored. They are copies."""
        return _stored("events", *self.events.unsaved()) | _stored("tops", *self.tops.unsaved())

    def restore(self, totals: Arrays, samples: Sequence[Arrays] | None = None) -> None:
        """Load what `state` returned into a new sketch; or the last `totals`, and all that `unsaved` returned up to then."""

        def loaded(arrays: Arrays, name: str) -> Tensor:
            return torch.from_numpy(arrays[name]).to(self.device)

        self._raise_scale(torch.arange(len(self.unit_ids), device=self.device), loaded(totals, "maximum"))
        self.n_counted, self.uncounted = int(totals["n_counted"]), UncountedTokens.restored(totals)
        self.histogram = loaded(totals, "histogram")
        for name, sample in (("events", self.events), ("tops", self.tops)):
            for arrays in [totals] if samples is None else samples:
                rows = SampleRows(*(loaded(arrays, f"{name}.{field}") for field in STORED_FIELDS))
                sample.add(rows, loaded(arrays, f"{name}.windows").view(torch.bfloat16))
            sample.compact()
            sample.mark_saved()
        self._plan_event_search()
        self._plan_top_search()

    def _add_block(self, block: Block, positions: TokenPositions) -> None:
        """Add one block of a batch. Touches only the block's own units, and the samples' lists of pending rows, which have a lock:
        so blocks may be added by several threads at once."""
        units = block.units
        self._raise_scale(units, block.maxima())
        scale = torch.exp2(10.0 - self.exponent[units])  # CELLS = 2**10
        block.add_to_histogram(self.histogram, scale, positions.split)
        strong, top = self._strong_threshold[units], self._top_threshold[units]
        active = block.events_above(torch.minimum(strong, top))
        chosen = [active.take(true_indices(active.value > strong.index_select(0, active.unit)))]
        chosen += self._early_events(block, positions, strong)
        events = Events(*(torch.cat(columns) for columns in zip(*chosen, strict=True)))
        self._sample_events(block, positions, events)
        self._sample_tops(block, positions, active)

    def _early_events(self, block: Block, positions: TokenPositions, strong: Tensor) -> list[Events]:
        """Silent and weak events that stand early enough on their unit's ring to enter the sample.

        priority = hash + offset in signed 32-bit arithmetic, so the token of lowest priority, -2**31, has hash -2**31 - offset:
        that is the unit's start, and priorities rise along the ring from there.
        """
        units = block.units
        start = ((RING_SIZE // 2 - self._offset[units].long()) % RING_SIZE).unsqueeze(1) + positions.ring_origin
        first = torch.searchsorted(positions.ring, start)
        weak = torch.searchsorted(positions.ring, start + self._weak_scan_range[units], right=True)
        silent = torch.searchsorted(positions.ring, start + self._silent_scan_range[units], right=True)
        # Until a silent stratum is full its scan range is the whole ring. Twice as many tokens as it takes nearly always hold enough
        # silent ones, and later ones cannot enter before them: only the few units that lack some are scanned to the end.
        end = torch.maximum(weak, torch.minimum(silent, first + 2 * self.quota.silent))
        found = [self._events_on_ring(block, positions, strong, first, end)]
        silent_events = found[0].take(true_indices(found[0].value == 0))
        unit_split = 2 * silent_events.unit + positions.split.index_select(0, silent_events.column)
        n_silent = torch.bincount(unit_split, minlength=2 * len(units))
        lacking = (end < silent) & (n_silent.view(-1, 2) < self.quota.silent)
        if bool(lacking.any()):
            rest = torch.where(lacking, silent, end)
            found.append(self._events_on_ring(block, positions, strong, end, rest))
        return found

    def _events_on_ring(
        self, block: Block, positions: TokenPositions, strong: Tensor, low: Tensor, high: Tensor
    ) -> Events:
        """The events of each unit that are not strong, at the ring's places [low, high), each (u, 2)."""
        unit_split, place = expand_ranges(low.flatten(), high.flatten())
        unit, column = unit_split >> 1, positions.ring_column.index_select(0, place)
        value = block.values_at(unit, column)
        return Events(unit, column, value).take(true_indices(value <= strong.index_select(0, unit)))

    def _sample_events(self, block: Block, positions: TokenPositions, events: Events) -> None:
        """Add those of the events that are among the k lowest of their stratum, as far as can be told from this batch."""
        unit = block.units.index_select(0, events.unit)
        unit_split = 2 * unit + positions.split.index_select(0, events.column)
        group = unit_split * STRATA + self._stratum(unit, events.value)
        priority = positions.hash.index_select(0, events.column) + self._offset.index_select(0, unit)
        may_enter = true_indices(priority <= self.events.priority_threshold.index_select(0, group))
        if len(may_enter) > _CROWDED * len(block.units) * 2 * STRATA:
            k, latest = (
                per_group.view(-1, 2 * STRATA)[block.units].flatten()
                for per_group in (self.events.k, self.events.priority_threshold)
            )
            group_in_block = group + (events.unit - unit) * 2 * STRATA
            cluster = positions.clusters(events.take(may_enter))
            may_enter = may_enter[candidate_rows(group_in_block[may_enter], cluster, priority[may_enter], k, latest)]
        events = events.take(may_enter)
        unit_split, group, priority = unit_split[may_enter], group[may_enter], priority[may_enter]
        token, cluster = positions.ordinal.index_select(0, events.column), positions.clusters(events)
        keep = lowest_of_group(group, cluster, priority, token, self.events.k)
        self._add_rows(
            self.events, block, positions, events.take(keep), unit_split[keep], priority[keep], cluster[keep]
        )

    def _sample_tops(self, block: Block, positions: TokenPositions, active: Events) -> None:
        """Add the strongest event of each context, the first of equals. Priority is the negative of the activation's bits:
        those of floats that are not negative are ordered as the floats are."""
        top = self._top_threshold.index_select(0, block.units)
        active = active.take(true_indices(active.value > top.index_select(0, active.unit)))
        n_contexts = len(positions.batch.length)
        group = active.unit * n_contexts + positions.context.index_select(0, active.column)
        largest = active.value.new_zeros(len(block.units) * n_contexts)
        largest.scatter_reduce_(0, group, active.value, "amax")
        best = true_indices(active.value == largest.index_select(0, group))
        active = active.take(best[true_indices(first_of_group(group[best], 1))])
        priority = -active.value.view(torch.int32)
        split = positions.split.index_select(0, active.column)
        unit_split = 2 * block.units.index_select(0, active.unit) + split
        may_enter = true_indices(priority <= self.tops.priority_threshold.index_select(0, unit_split))
        chosen = active.take(may_enter)
        alone = torch.full_like(may_enter, -1)
        self._add_rows(self.tops, block, positions, chosen, unit_split[may_enter], priority[may_enter], alone)

    def _add_rows(
        self,
        sample: BottomK,
        block: Block,
        positions: TokenPositions,
        events: Events,
        unit_split: Tensor,
        priority: Tensor,
        cluster: Tensor,
    ) -> None:
        """Add events and their windows to a sample. Windows without any activation are not stored."""
        column = events.column
        first = positions.window_start.index_select(0, column)
        length = positions.window_length.index_select(0, column)
        windows = block.windows(events.unit, first, length, self.window)
        has_activation = windows.view(torch.int16).amax(dim=1) > 0
        slot = (has_activation.cumsum(0) * has_activation - 1).to(torch.int32)
        rows = SampleRows(
            unit_split=unit_split.to(torch.int32),
            priority=priority,
            token=positions.ordinal.index_select(0, column),
            cluster=cluster,
            activation=events.value,
            start=(column - first).to(torch.int16),
            length=length.to(torch.int16),
            slot=slot,
        )
        sample.add(rows, windows.index_select(0, true_indices(has_activation)))

    def _stratum(self, unit: Tensor, activation: Tensor) -> Tensor:
        """Stratum of each activation: ceil(activation / s * INTERVALS). The factor is a power of two, so the product is exact."""
        return (activation * torch.exp2(6.0 - self.exponent).index_select(0, unit)).ceil_().long()  # INTERVALS = 2**6

    def _stratum_group(self, rows: SampleRows) -> Tensor:
        return rows.unit_split.long() * STRATA + self._stratum((rows.unit_split >> 1).long(), rows.activation)

    def _plan_event_search(self) -> None:
        """Set how each unit's events are searched for in later batches: above `_strong_threshold` all of them, below it only as far
        along the ring as `_weak_scan_range` (units, 2), and silent ones as far as `_silent_scan_range`; -1 scans nothing.

        The strong threshold is the upper end of a stratum c. Events of the strata above c are listed by strength; for strata 1..c
        the ring is scanned up to the highest priority that any of them still admits. With n(c) events above c, a ring of N
        tokens and r(c) its share to be scanned, c minimises n(c) + N r(c), judging by the events so far. Any c is correct; it
        decides the time only. What is skipped cannot enter: priority thresholds only fall.
        """
        n = len(self.unit_ids)
        threshold = self.events.priority_threshold.view(n, 2, STRATA)
        nothing = torch.full_like(threshold[..., :1], LOWEST)
        latest = torch.cat([nothing, threshold[..., 1:].cummax(dim=2).values], dim=2)
        in_stratum = self.histogram[..., 1:].view(n, 2, INTERVALS, -1).sum(dim=(1, 3), dtype=torch.float32)
        up_to = torch.nn.functional.pad(in_stratum.cumsum(dim=1), (1, 0))
        above = in_stratum.sum(dim=1, keepdim=True) - up_to
        share = (latest.float() - LOWEST) / RING_SIZE
        cut = (above + self.n_counted * share.amax(dim=1)).argmin(dim=1)
        self._strong_threshold = cut * torch.exp2(self.exponent - 6.0)
        scan_range = latest.gather(2, cut.view(n, 1, 1).expand(n, 2, 1)).squeeze(2).long() - LOWEST
        self._weak_scan_range = torch.where(cut.unsqueeze(1) > 0, scan_range, -1)
        self._silent_scan_range = threshold[..., 0].long() - LOWEST

    def _plan_top_search(self) -> None:
        """Set the activation `_top_threshold` (units,) that an event must exceed to enter a top sample of either split."""
        threshold = self.tops.priority_threshold.view(-1, 2)
        weakest = torch.where(threshold == HIGHEST, 0, -threshold).view(torch.float32)
        weakest = torch.where(threshold == LOWEST, torch.inf, weakest).amin(dim=1)
        # Just below the weakest top event, for one that is as strong may still come first by its token.
        self._top_threshold = torch.nextafter(weakest, torch.tensor(-1.0, device=weakest.device)).clamp_(min=0)

    def _raise_scale(self, units: Tensor, maximum: Tensor) -> None:
        """Raise the scales s = 2**exponent of `units` to cover a new maximum (u,), merging histogram cells and strata.

        Cell i covers ((i - 1) / CELLS, i / CELLS] of s, so when s doubles, cells 2i - 1 and 2i become cell i without remainder.
        """
        maximum = torch.maximum(self.maximum[units], maximum)
        self.maximum[units] = maximum
        mantissa, exponent = torch.frexp(maximum)  # in [0.5, 1): 0.5 for powers of two, which need no larger scale
        needed = torch.where(mantissa == 0.5, exponent - 1, exponent).to(torch.int32)
        before = self.exponent[units]
        chosen = ((maximum > 0) & (needed > before)).nonzero().squeeze(1)
        if not len(chosen):
            return
        grown, shift = units[chosen], (needed - before)[chosen].clamp(max=11).unsqueeze(1)  # by 2**11 all are in cell 1
        self.exponent[grown] = needed[chosen]
        cells = torch.zeros((len(grown), 2, CELLS + 1), dtype=self.histogram.dtype, device=grown.device)
        target = _merged(CELLS, shift).unsqueeze(1).expand(-1, 2, -1)
        self.histogram[grown] = cells.scatter_add_(2, target, self.histogram[grown])
        threshold = self.events.priority_threshold.view(-1, 2, STRATA)
        merged = torch.full((len(grown), 2, STRATA), HIGHEST, dtype=torch.int32, device=grown.device)
        target = _merged(INTERVALS, shift).unsqueeze(1).expand(-1, 2, -1)
        # The k-th lowest of a union is at most the k-th lowest of either part.
        threshold[grown] = merged.scatter_reduce_(2, target, threshold[grown], "amin")


def _merged(parts: int, shift: Tensor) -> Tensor:
    """The number that each of the parts 0..`parts` gets when the scale grows by 2**shift (n, 1); 0 stays 0."""
    part = torch.arange(1, parts + 1, device=shift.device).expand(len(shift), -1)
    return torch.nn.functional.pad(((part - 1) >> shift) + 1, (1, 0))


def _stored(name: str, rows: SampleRows, windows: Tensor) -> dict[str, np.ndarray]:
    """A sample's rows and windows as plain arrays."""
    columns = {f"{name}.{field}": _numpy(column) for field, column in zip(STORED_FIELDS, rows, strict=True)}
    return columns | {f"{name}.windows": _numpy(windows.view(torch.int16))}


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())
