"""How often names occur in a corpus: as ` Name `, between two spaces and spelled as given, as Scaling Monosemanticity counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sae.corpus.corpus import Corpus

Progress = Callable[[int, int], None]


def name_counts(
    corpus: Corpus, tokenizer: Any, names: Sequence[str], progress: Progress = lambda done, total: None
) -> list[int]:
    """The occurrences of each name in all documents, in the order of the names.

    A name beside a punctuation mark, a line break, or the beginning or end of a document is not counted, nor is another spelling of it.
    """
    single = {name for name in names if " " not in name}
    totals = dict.fromkeys(names, 0)
    for text, done in _documents(corpus, tokenizer):
        words = Counter(text.split(" ")[1:-1])
        for name in totals:
            totals[name] += words[name] if name in single else text.count(f" {name} ")
        progress(done, len(corpus.contexts))
    return [totals[name] for name in names]


def _documents(corpus: Corpus, tokenizer: Any) -> Iterator[tuple[str, int]]:
    """The text of each document, with the number of contexts read so far."""
    number = np.asarray(corpus.contexts["document"], dtype=np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for first, end in zip(starts, [*starts[1:], len(number)], strict=True):
        ids = [
            int(i)
            for offset, length in zip(corpus.contexts["offset"][first:end], corpus.contexts["length"][first:end], strict=True)
            for i in corpus.tokens[int(offset) : int(offset) + int(length)]
        ]  # fmt: skip
        yield tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False), int(end)
