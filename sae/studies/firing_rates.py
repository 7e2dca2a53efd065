"""How often every feature of a dictionary fires in the documents of a corpus, as sums from which clustered intervals follow.

Documents are drawn and read whole, one after another. Memory is that of one batch of tokens and of a few numbers a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.analysis.chunked import feature_chunks
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError
from sae.studies.counted_tokens import NormLimits, counted_values
from sae.subject.model import Subject

BATCH_TOKENS = 4096

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass
class FiringSums:
    """Sums over the documents, of feature i's firings c and of a document's counted tokens n; arrays are float64 (d_sae,)."""

    firings: Floats
    """Sum of c."""
    squares: Floats
    """Sum of c squared."""
    products: Floats
    """Sum of c n."""
    documents_with: Floats
    """Documents in which the feature fires."""
    documents: int = 0
    tokens: int = 0
    tokens_squared: float = 0.0
    """Sum of n squared."""

    @classmethod
    def zeros(cls, d_sae: int) -> FiringSums:
        """Sums over no documents."""
        return cls(np.zeros(d_sae), np.zeros(d_sae), np.zeros(d_sae), np.zeros(d_sae))

    def add(self, start: int, firings: Tensor, lengths: Floats) -> None:
        """Add the firings (documents, count) of features `start` on in whole documents of these lengths."""
        c, here = firings.double().cpu().numpy(), slice(start, start + firings.shape[1])
        self.firings[here] += c.sum(axis=0)
        self.squares[here] += (c**2).sum(axis=0)
        self.products[here] += lengths @ c
        self.documents_with[here] += (c > 0).sum(axis=0)

    def add_lengths(self, lengths: Floats) -> None:
        """Add documents with these numbers of counted tokens; documents without one do not count."""
        self.documents += int((lengths > 0).sum())
        self.tokens += int(lengths.sum())
        self.tokens_squared += float((lengths**2).sum())


@torch.inference_mode()
def firing_sums(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    *,
    tokens: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> FiringSums:
    """The sums over documents of about `tokens` tokens together, drawn by the seed. Raises `SaeError` if no token counts."""
    rows = _rows(corpus, tokens, seed)
    limits = NormLimits()
    sums = FiringSums.zeros(dictionary.d_sae)
    open_firings = torch.zeros(dictionary.d_sae, device=subject.device)
    open_length, n_read, total = 0.0, 0, int(corpus.contexts["length"][rows].sum())
    previous = -1
    for batch in _batches(corpus, rows):
        values, counted = counted_values(subject, corpus, batch, [dictionary.hook_point], limits)
        document = np.repeat(corpus.contexts["document"][batch], corpus.contexts["length"][batch])[
            counted.cpu().numpy()
        ]
        seen = corpus.contexts["document"][batch]
        order = list(dict.fromkeys([*([previous] if previous >= 0 else []), *seen.tolist()]))
        sizes = [int((document == each).sum()) for each in order]
        lengths = np.array(sizes, dtype=np.float64)
        lengths[0] += open_length
        for chunk in feature_chunks(dictionary, values[dictionary.hook_point][counted]):
            here = slice(chunk.start, chunk.stop)
            firings = torch.stack([(part > 0).sum(dim=0).float() for part in torch.split(chunk.f, sizes)])
            firings[0] += open_firings[here]
            sums.add(chunk.start, firings[:-1], lengths[:-1])
            open_firings[here] = firings[-1]
        sums.add_lengths(lengths[:-1])
        open_length, previous = float(lengths[-1]), order[-1]
        n_read += int(corpus.contexts["length"][batch].sum())
        progress(n_read, total)
    sums.add(0, open_firings[None], np.array([open_length]))
    sums.add_lengths(np.array([open_length]))
    if not sums.tokens:
        raise SaeError(NOTHING_COUNTED)
    return sums


def _rows(corpus: Corpus, tokens: int, seed: int) -> npt.NDArray[np.int64]:
    """The contexts of documents drawn without replacement, document after document."""
    numbers = corpus.contexts["document"].astype(np.int64)
    drawn = np.random.default_rng([seed, 5]).permutation(int(numbers.max(initial=0)) + 1)
    lengths = np.bincount(numbers, weights=corpus.contexts["length"], minlength=len(drawn))[drawn]
    n = int(np.searchsorted(np.cumsum(lengths), tokens)) + 1
    place = np.full(len(drawn), len(drawn), dtype=np.int64)
    place[drawn[:n]] = np.arange(len(drawn[:n]))
    rows = np.flatnonzero((place[numbers] < n) & (corpus.contexts["length"] > 0))
    return rows[np.argsort(place[numbers[rows]], kind="stable")]


def _batches(corpus: Corpus, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """The rows in their order, in batches of at most `BATCH_TOKENS` tokens, but of one context at least."""
    longest = int(corpus.contexts["length"][rows].max(initial=1)) + 1
    size = max(1, BATCH_TOKENS // longest)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
