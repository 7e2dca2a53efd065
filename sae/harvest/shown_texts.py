"""Texts that are shown twice although their documents differ: boilerplate, quotations, code that was copied.

The text of an exemplar is the stretch around its mark, as far as `REACH` tokens to both sides, and is compared by its short runs of
tokens. Two exemplars show the same text if they share `SAME` of them: the nine tokens around both marks are enough, and so is one
stretch that is marked at two places not far from each other. Exemplars that overlap in the corpus itself are not compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sae.corpus.corpus import Corpus

REACH = 8
"""Tokens on each side of a mark."""
RUN = 4
"""Tokens of a run. A text of 2 * REACH + 1 tokens has 14 runs, and nine tokens in a row have 6."""
SAME = 0.4
"""Share of the shorter text's runs."""


class CorpusText:
    """The texts around the tokens of a corpus, none of which spans two contexts."""

    def __init__(self, corpus: Corpus) -> None:
        self._tokens = np.asarray(corpus.tokens)  # a memory map's slices are slow to make
        self._start = np.ascontiguousarray(corpus.contexts["offset"])
        self._end = self._start + corpus.contexts["length"]

    def runs_around(self, token: int) -> set[tuple[int, ...]]:
        """The runs of tokens around the token with this ordinal."""
        context = np.searchsorted(self._start, token, side="right") - 1
        first, end = max(self._start[context], token - REACH), min(self._end[context], token + REACH + 1)
        ids = self._tokens[first:end].tolist()
        return {tuple(ids[i : i + RUN]) for i in range(max(1, len(ids) - RUN + 1))}


class ShownTexts:
    """The texts of a unit's exemplars."""

    def __init__(self, text: CorpusText) -> None:
        self._text = text
        self._shown_with: dict[tuple[int, ...], list[int]] = defaultdict(list)
        self._n_runs: list[int] = []
        self._tokens: list[int] = []

    def add(self, token: int) -> bool:
        """Add the text around a token, unless it was shown. Returns whether it is new."""
        if self.like(token):
            return False
        self.show(token)
        return True

    def show(self, token: int) -> None:
        """Add the text around a token."""
        runs = self._text.runs_around(token)
        for run in runs:
            self._shown_with[run].append(len(self._n_runs))
        self._n_runs.append(len(runs))
        self._tokens.append(token)

    def like(self, token: int) -> list[int]:
        """The texts that the one around a token repeats, numbered in the order in which they were added."""
        runs = self._text.runs_around(token)
        shared = Counter(shown for run in runs for shown in self._shown_with.get(run, ()))
        same = []
        for shown, n in shared.items():
            distance = abs(token - self._tokens[shown])
            if (distance == 0 or distance > 2 * REACH) and n >= SAME * min(len(runs), self._n_runs[shown]):
                same.append(shown)
        return same


def repeats(text: CorpusText, tokens: Sequence[int]) -> npt.NDArray[np.int64]:
    """Pairs (p, 2) of the indices of those tokens around which the text is the same."""
    shown, pairs = ShownTexts(text), list[tuple[int, int]]()
    for number, token in enumerate(tokens):
        pairs += [(other, number) for other in shown.like(token)]
        shown.show(token)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
