"""The largest activations of units at counted tokens, measured over the first texts of a corpus or over given texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.analysis.unit_probe import as_corpus, encode_texts, largest_activations, most_tokens, read_contexts
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey
from sae.studies.counted_tokens import norm_limit
from sae.subject.model import Subject

CONTEXTS_AT_ONCE = 64


def maxima_over_corpus(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], corpus: Corpus, tokens: int
) -> np.ndarray:
    """The largest activation (units,) in the corpus's first contexts with at least `tokens` tokens, or in all of it."""
    reader = UnitReader(subject, dictionary, units)
    limit = norm_limit(subject, corpus, reader.hook_point)
    ends = np.cumsum(corpus.contexts["length"].astype(np.int64))
    n = min(len(ends), int(np.searchsorted(ends, tokens)) + 1)
    maxima = np.zeros(len(units), dtype=np.float32)
    for first in range(0, n, CONTEXTS_AT_ONCE):
        rows = range(first, min(n, first + CONTEXTS_AT_ONCE))
        for read in read_contexts(reader, corpus, rows, norm_limit=limit):
            maxima = np.maximum(maxima, read.activations.max(axis=1, initial=0.0))
    return maxima


def maxima_over_texts(
    subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey], texts: Sequence[str]
) -> np.ndarray:
    """The largest activation (units,) in the texts."""
    reader = UnitReader(subject, dictionary, units)
    ids = [row[: most_tokens(subject)] for row in encode_texts(subject, texts)]
    limit = norm_limit(subject, as_corpus(subject, ids), reader.hook_point)
    return np.asarray(largest_activations(reader, texts, norm_limit=limit).max(axis=1, initial=0.0))
