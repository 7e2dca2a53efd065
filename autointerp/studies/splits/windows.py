"""Text around sampled tokens."""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.messages import MarkedText
from sae.corpus.corpus import Corpus
from sae.studies.firing import Sampled
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
