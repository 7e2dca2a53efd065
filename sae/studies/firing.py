"""The tokens at which the features of several dictionaries fire, from one pass of the subject over a sample of tokens.

Events are kept, not activations: memory is about 32 bytes an event, so it grows with the tokens and with the number of features active at
one, not with the number of features. Reading ends early at `EVENTS` events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from sae.analysis import token_sample
from sae.analysis.chunked import feature_chunks
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError
from sae.harvest.uncounted import SKIP_POSITIONS
from sae.studies.counted_tokens import NormLimits
from sae.subject.model import Subject

EVENTS = 1 << 26
"""Events of all dictionaries after which no more tokens are read: 2 GB, with both orders of them and a copy while they are multiplied."""
FORWARD_TOKENS = 4096

Progress = Callable[[int, int], None]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Firings:
    """The events of one dictionary at N tokens, in order of the tokens: those of token t are number `first[t]` to `first[t + 1]`.

    `first`: int64 (N + 1,). `feature`: int32 and `value`: float32, both (events,). A value is f times the norm of the decoder row.
    """

    first: Numbers
    feature: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    d_sae: int

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.first) - 1

    @cached_property
    def by_feature(self) -> csc_array:
        """Activations (tokens, d_sae), stored column by column."""
        return self.by_token.tocsc()

    @property
    def by_token(self) -> csr_array:
        """Activations (tokens, d_sae), stored row by row."""
        return csr_array((self.value, self.feature, self.first), shape=(self.n_tokens, self.d_sae))

    @cached_property
    def counts(self) -> Numbers:
        """Number of tokens at which each feature fires (d_sae,)."""
        return np.bincount(self.feature, minlength=self.d_sae).astype(np.int64)

    def tokens_of(self, feature: int) -> npt.NDArray[np.int32]:
        """The tokens at which a feature fires, ascending."""
        column = self.by_feature
        tokens: npt.NDArray[np.int32] = column.indices[column.indptr[feature] : column.indptr[feature + 1]]
        return tokens

    def values_of(self, feature: int) -> npt.NDArray[np.float32]:
        """Its activations at these tokens."""
        column = self.by_feature
        values: npt.NDArray[np.float32] = column.data[column.indptr[feature] : column.indptr[feature + 1]]
        return values


@dataclass(frozen=True, eq=False)
class Sampled:
    """The N counted tokens, in the order read: the `context` of the corpus and the `position` in it, both int64 (N,)."""

    context: Numbers
    position: Numbers


@torch.inference_mode()
def read(
    subject: Subject,
    dictionaries: Sequence[Dictionary],
    corpus: Corpus,
    *,
    tokens: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> tuple[Sampled, list[Firings]]:
    """The firings of all features of each dictionary at the same tokens, about `tokens` of them.

    Raises `SaeError` if no token counts, and `SubjectError` for values that are not finite.
    """
    sample = token_sample.draw(corpus, tokens, seed, SKIP_POSITIONS)
    names = list(dict.fromkeys(dictionary.hook_point for dictionary in dictionaries))
    first = int(corpus.bos_id is not None)
    places: list[Numbers] = []
    events = [_Events(dictionary) for dictionary in dictionaries]
    limits = NormLimits()
    n_contexts = n_tokens = 0
    for ids, text in sample.batches(FORWARD_TOKENS, subject.device):
        values = subject.run(ids, names)
        counted = limits.counted(values, text)
        row, column = counted.nonzero(as_tuple=True)
        places.append(np.stack([sample.rows[row.cpu().numpy() + n_contexts], column.cpu().numpy() - first]))
        for each in events:
            each.add(values[each.dictionary.hook_point][counted])
        n_contexts += len(ids)
        n_tokens += len(row)
        progress(n_tokens, tokens)
        if sum(each.n for each in events) > EVENTS:
            break
    if not n_tokens:
        raise SaeError(NOTHING_COUNTED)
    context, position = np.concatenate(places, axis=1).astype(np.int64)
    return Sampled(context, position), [each.finished() for each in events]


class _Events:
    """The events of one dictionary read so far."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.n = 0
        self._parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]] = []

    def add(self, x: Tensor) -> None:
        """Add the events at rows x (n, d_in)."""
        norms = self.dictionary.decoder_norm
        rows, features, values = [], [], []
        for chunk in feature_chunks(self.dictionary, x):
            row, feature = chunk.f.nonzero(as_tuple=True)
            norm = norms[chunk.start : chunk.stop].to(chunk.f)
            values.append(chunk.f[row, feature] * norm[feature])
            rows.append(row)
            features.append(feature + chunk.start)
        row, order = torch.cat(rows).sort(stable=True)
        counts = torch.bincount(row, minlength=len(x)).cpu().numpy()
        fired, value = (torch.cat(part)[order].cpu().numpy() for part in (features, values))
        self._parts.append((counts, fired.astype(np.int32), value.astype(np.float32)))
        self.n += len(fired)

    def finished(self) -> Firings:
        """The events of all rows."""
        counts = np.concatenate([part[0] for part in self._parts])
        feature = np.concatenate([part[1] for part in self._parts])
        value = np.concatenate([part[2] for part in self._parts])
        first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
        return Firings(first, feature, value, self.dictionary.d_sae)
