"""Text at and around sampled tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autointerp.messages import MarkedText
from sae.corpus.corpus import Corpus
from sae.studies.firing import Firings, Sampled
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

BEFORE, AFTER = 12, 6
"""Tokens on each side."""


def around(subject: Subject, corpus: Corpus, sampled: Sampled, tokens: Sequence[int]) -> list[MarkedText]:
    """The window of each sampled token, within its context, the token marked."""
    found = []
    for token in tokens:
        context, position = corpus.contexts[sampled.context[token]], int(sampled.position[token])
        first, last = max(0, position - BEFORE), min(int(context["length"]), position + AFTER + 1)
        ids = corpus.tokens[int(context["offset"]) + first : int(context["offset"]) + last]
        found.append(MarkedText(tuple(token_texts(subject.tokenizer, ids.tolist())), position - first))
    return found


def strongest(subject: Subject, corpus: Corpus, sampled: Sampled, firings: Firings, feature: int, n: int) -> list[str]:
    """The texts of the n tokens of the vocabulary at which a feature's activations sum to the most over the sample."""
    at = firings.tokens_of(feature)
    places = corpus.contexts["offset"][sampled.context[at]].astype(np.int64) + sampled.position[at]
    ids, which = np.unique(corpus.tokens[places], return_inverse=True)
    order = np.argsort(-np.bincount(which, weights=firings.values_of(feature), minlength=len(ids)), kind="stable")
    return [token_texts(subject.tokenizer, [int(ids[place])])[0] for place in order[:n]]
