"""A seeded sample of a corpus's contexts, and a mask of the tokens in them that a harvest would count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.corpus.corpus import Corpus
from sae.errors import NOTHING_COUNTED, SaeError


class Batch(NamedTuple):
    """Token ids (B, T), and a mask of the text (B, T) without BOS, padding, special ids and skipped positions."""

    tokens: Tensor
    text: Tensor


@dataclass(frozen=True)
class TokenSample:
    """Contexts drawn without replacement, in the order drawn. The first `skip_positions` tokens of each are run but do not count."""

    corpus: Corpus
    rows: np.ndarray
    skip_positions: int

    def batches(self, most: int, device: torch.device | str) -> Iterator[Batch]:
        """The contexts in batches of at most `most` tokens, but of one context at least."""
        first = int(self.corpus.bos_id is not None)
        longest = int(self.corpus.contexts["length"][self.rows].max(initial=0)) + first
        for rows in np.array_split(self.rows, -(-len(self.rows) // max(1, most // max(1, longest)))):
            tokens, text = self.corpus.batch(rows)
            text[:, : first + self.skip_positions] = False
            yield Batch(torch.as_tensor(tokens, device=device), torch.as_tensor(text, device=device))


def draw(corpus: Corpus, tokens: int, seed: int, skip_positions: int) -> TokenSample:
    """Draw contexts of about `tokens` tokens, or all contexts; a larger sample with the same seed contains the smaller one.

    Raises `SaeError` if no context has a token that could count.
    """
    order = np.random.default_rng([seed, 4]).permutation(len(corpus.contexts))
    lengths = np.maximum(corpus.contexts["length"][order].astype(np.int64) - skip_positions, 0)
    needed = int(np.searchsorted(np.cumsum(lengths), tokens)) + 1
    if not lengths.sum():
        raise SaeError(NOTHING_COUNTED)
    return TokenSample(corpus, order[:needed], skip_positions)
