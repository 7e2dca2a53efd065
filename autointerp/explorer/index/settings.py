"""What an index contains, and how much memory may be used to make it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sae.explorer.examples import Choice
from sae.harvest.bins import CELLS
from sae.harvest.sketch import STRATA, Quota

GIB = 1 << 30
VERSION = 2
"""Increase it with every change that can alter the contents."""
TOGETHER_TOKENS = 1 << 17
"""Tokens, about, at which all active features are kept to find those that are active together."""
NEURON_BYTES = 1 << 26
"""Values of neurons, in float16, that are kept for correlations."""
_ROW_BYTES = 41
"""Bytes of a sampled event beside its window."""
_ROOM = 3.0
"""Memory of a sketch while it is sorted and its examples are chosen, over that of its rows."""
_FILLED = 0.5
"""Sampled events of a unit over those of full strata, about: strong activations are rare. Neurons of SmolLM2 have 0.47, features 0.25."""


@dataclass(frozen=True)
class IndexSettings:
    """Settings of an index. `memory` is in bytes, beside the subject and the dictionary; it decides nothing but the number of passes."""

    neurons: bool = False
    """Whether each signed neuron of the layer is a unit too."""
    tokens: int | None = None
    """Tokens of the corpus at most; by default those of the run."""
    memory: int = 2 * GIB
    choice: Choice = field(default_factory=Choice)

    @property
    def quota(self) -> Quota:
        """Events that are kept of each unit. A half more of the strongest than are shown, because some read alike."""
        return Quota(explain=self.choice.per_bin, judge=0, silent=0, top=self.choice.top + self.choice.top // 2)

    def unit_bytes(self, window: int) -> int:
        """Memory that a unit takes, about, while it is read, given the tokens of a window."""
        rows = self.quota.top + _FILLED * (STRATA - 1) * self.choice.per_bin
        return int(2 * (CELLS + 1) * 4 + 2 * STRATA * 8 + _ROOM * rows * (_ROW_BYTES + 2 * window))

    def units_per_pass(self, window: int, group: int) -> int:
        """How many units are read in one pass: a multiple of `group`, at least one."""
        return max(1, self.memory // self.unit_bytes(window) // group) * group
