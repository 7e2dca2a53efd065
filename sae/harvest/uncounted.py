"""The tokens that a pass ran and did not count, so that every window can be shown with a mask of those that count.

BOS, the first positions of a context, special tokens, those of a chat template and tokens of massive norm are not counted. No unit has
an activation there: not in a sample, not in a window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SKIP_POSITIONS = 1
"""First tokens of a context that do not count by default: many models have activations without meaning there."""
MAX_NORM_RATIO = 10.0
"""Tokens with a norm of more than this many medians do not count by default."""
NAME = "uncounted"
"""The name of the array in the files of shards."""


class UncountedTokens:
    """Ordinals in the corpus of the tokens that were not counted, at 8 bytes each.

    They are unknown if a part of the harvest was saved by a version that did not keep them.
    """

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._known = True

    def add(self, ordinals: Tensor) -> None:
        """Add the tokens (n,) of one batch, in any order. No token may be added twice."""
        self._parts.append(ordinals.cpu())

    def merge(self, other: UncountedTokens) -> None:
        """Add those of another part of the corpus."""
        self._parts += other._parts
        self._known &= other._known

    def ordinals(self) -> npt.NDArray[np.int64] | None:
        """All of them in ascending order, int64 (n,); None if they are unknown."""
        if not self._known:
            return None
        parts = torch.cat([torch.zeros(0, dtype=torch.int64), *self._parts])
        return np.asarray(parts.sort().values.numpy())

    def state(self) -> dict[str, np.ndarray]:
        """Them as an array to be saved; nothing if they are unknown."""
        ordinals = self.ordinals()
        return {} if ordinals is None else {NAME: ordinals}

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray]) -> UncountedTokens:
        """What `state` returned. Unknown if the arrays lack it."""
        uncounted = cls()
        if NAME in arrays:
            uncounted.add(torch.from_numpy(arrays[NAME]))
        uncounted._known = NAME in arrays
        return uncounted


def counted_mask(uncounted: npt.NDArray[np.int64], first: int, n: int) -> npt.NDArray[np.bool_]:
    """Whether each of the `n` tokens from ordinal `first` on is counted, given the ordinals of those that are not."""
    low, high = np.searchsorted(uncounted, (first, first + n))
    mask = np.ones(n, dtype=np.bool_)
    mask[uncounted[low:high] - first] = False
    return mask
