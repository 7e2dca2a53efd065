"""The sketch of many units for readers: examples of every bin, exact sums, and all activations at a sample of the tokens.

It differs from the harvest's in three ways: all documents are on one side, because nothing is judged; the mark stands at the same place
of every window, so that the text before it can be read; and silent events are not sampled. What is said there of batches and merges
holds here too: the sample of tokens is decided by their ordinals alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.harvest.activation_blocks import Block, true_indices
from sae.harvest.bottom_k import BottomK
from sae.harvest.harvest import HarvestPlan, Reading, UnitReader
from sae.harvest.parallel import ForEach
from sae.harvest.sketch import Sketch
from sae.harvest.token_positions import BatchLayout, TokenPositions, mix
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

PLACE = 0.75
"""Where the mark stands in its window, as a share of the window's length."""
_SHARE_BITS = 24
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class WholePlan(HarvestPlan):
    """A plan whose quota has no judged and no silent events. Features come before neurons among its units.

    `sampled` is the share of the tokens whose active features are kept, and `neuron_sampled`, which is not larger, that of the tokens at which
    all neurons of the layer are kept.
    """

    sampled: float = 1.0
    neuron_sampled: float = 1.0


class _ShownPositions(TokenPositions):
    """Positions with all documents on one side and the mark at the same place of every window."""

    def _splits(self, seed: int) -> Tensor:
        return torch.zeros_like(self.batch.length)

    def _places(self, window: int) -> Tensor:
        return torch.full_like(self.ordinal, int(PLACE * window))


class _Parts:
    """Columns that grow by parts, and which of the parts were not saved yet. Several threads may add."""

    def __init__(self, name: str, columns: Mapping[str, np.ndarray]) -> None:
        self._name, self._empty = name, dict(columns)
        self._parts: list[dict[str, np.ndarray]] = []
        self._n_saved = 0
        self._adding = threading.Lock()

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        with self._adding:
            self._parts.append(dict(columns))

    def merge(self, other: _Parts) -> None:
        with self._adding:
            self._parts += other._parts

    def arrays(self, first: int = 0) -> dict[str, np.ndarray]:
        """The columns from a part on, as arrays to be saved."""
        parts = [self._empty, *self._parts[first:]]
        return {f"{self._name}.{name}": np.concatenate([part[name] for part in parts]) for name in self._empty}

    def unsaved(self) -> dict[str, np.ndarray]:
        first, self._n_saved = self._n_saved, len(self._parts)
        return self.arrays(first)

    def restore(self, arrays: Arrays) -> None:
        """Add what `arrays` or `unsaved` returned."""
        self.add({name: arrays[f"{self._name}.{name}"] for name in self._empty})
        self._n_saved = len(self._parts)


class WholeSketch(Sketch):
    """What one pass keeps of U units, of which the first `features` are features.

    Beside that of a `Sketch`: `total` (U,), the sum of each unit's activations; and of the sampled tokens, the active features as columns
    (token, unit, value), and the values (tokens, neurons) of all neurons of the layer in float16.
    """

    positions_of = _ShownPositions

    def __init__(self, plan: WholePlan, neurons: int, device: torch.device | str) -> None:
        ids = [unit.unit_id for unit in plan.units]
        super().__init__(ids, plan.quota, window=plan.window, seed=plan.seed, device=str(device))
        self.plan = plan
        self.features = sum(unit.kind == "feature" for unit in plan.units)
        self.tops = BottomK(
            [plan.quota.top, 0], len(ids), plan.window, lambda rows: rows.unit_split.long(), str(device)
        )
        self.total = torch.zeros(len(ids), dtype=torch.float64, device=device)
        token, unit, value = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        self._active = _Parts("active", {"token": token, "unit": unit, "value": value})
        self._neurons = _Parts("neurons", {"token": token, "values": np.zeros((0, neurons), dtype=np.float16)})

    def add_neurons(self, layout: BatchLayout, values: Tensor) -> None:
        """Add the values (N, neurons) of a batch's tokens, of which the sampled ones are kept."""
        ordinal = ordinals(layout)
        chosen = true_indices(layout.counted & is_sampled(ordinal, self.plan.neuron_sampled))
        kept = values.index_select(0, chosen).to(torch.float16).cpu().numpy()
        self._neurons.add({"token": ordinal.index_select(0, chosen).cpu().numpy(), "values": kept})

    def sample(self) -> dict[str, np.ndarray]:
        """What is kept of the sampled tokens: `active.token`, `active.unit`, `active.value`, sorted by token and unit, and `neurons.token`,
        `neurons.values`, sorted by token."""
        arrays = self._active.arrays() | self._neurons.arrays()
        active = np.lexsort((arrays["active.unit"], arrays["active.token"]))
        neurons = np.argsort(arrays["neurons.token"], kind="stable")
        return {name: array[active if name.startswith("active") else neurons] for name, array in arrays.items()}

    def merge(self, other: Sketch) -> None:
        super().merge(other)
        assert isinstance(other, WholeSketch)
        self.total += other.total
        self._active.merge(other._active)
        self._neurons.merge(other._neurons)

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | self._active.arrays() | self._neurons.arrays()

    def totals(self) -> dict[str, np.ndarray]:
        return super().totals() | {"total": self.total.cpu().numpy()}

    def unsaved(self) -> dict[str, np.ndarray]:
        return super().unsaved() | self._active.unsaved() | self._neurons.unsaved()

    def restore(self, totals: Arrays, samples: Sequence[Arrays] | None = None) -> None:
        super().restore(totals, samples)
        self.total = torch.from_numpy(totals["total"].copy()).to(self.device)
        for arrays in [totals] if samples is None else samples:
            self._active.restore(arrays)
            self._neurons.restore(arrays)

    def _add_block(self, block: Block, positions: TokenPositions) -> None:
        super()._add_block(block, positions)
        units = block.units
        self.total.index_add_(0, units, block.sums().double())
        if int(units[0]) >= self.features:  # a block has features only, or neurons only
            return
        active = block.events_above(torch.zeros(len(units), device=units.device))
        sampled = is_sampled(positions.ordinal, self.plan.sampled)
        active = active.take(true_indices(sampled.index_select(0, active.column)))
        columns = {
            "token": positions.ordinal.index_select(0, active.column),
            "unit": units.index_select(0, active.unit).to(torch.int32),
            "value": active.value,
        }
        self._active.add({name: column.cpu().numpy() for name, column in columns.items()})


class WholeReader(UnitReader):
    """A reader that also reads the neurons of the layer, for correlations."""

    def __init__(self, subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> None:
        super().__init__(subject, dictionary, units)
        self.hook_points = self.hook_points | {self.neuron_hook_point}


@dataclass(frozen=True)
class WholeReading(Reading):
    """The part in a pass of a `WholeReader`, whose sketch is a `WholeSketch`."""

    def add(self, layout: BatchLayout, values: Mapping[str, Tensor], for_each: ForEach) -> None:
        super().add(layout, values, for_each)
        assert isinstance(self.sketch, WholeSketch)
        if isinstance(self.reader, WholeReader):
            self.sketch.add_neurons(layout, values[self.reader.neuron_hook_point])


def ordinals(layout: BatchLayout) -> Tensor:
    """The ordinal in the corpus of each token (N,) of a batch."""
    context = torch.arange(len(layout.length), device=layout.length.device).repeat_interleave(layout.length)
    column = torch.arange(len(layout.counted), device=context.device)
    return layout.ordinal[context] + column - (layout.length.cumsum(0) - layout.length)[context]


def is_sampled(ordinal: Tensor, share: float) -> Tensor:
    """Mask of the tokens with these ordinals (n,) that are in a sample of a share of all tokens. A larger sample contains a smaller one."""
    drawn = mix(ordinal.to(torch.int32)) & ((1 << _SHARE_BITS) - 1)
    return drawn < share * (1 << _SHARE_BITS)
