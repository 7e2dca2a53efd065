"""Which tokens studies count: those of text, but for the first of a context and those of massive norm.

A token that is not counted is not evidence of anything: no study reads an activation there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sae.corpus.corpus import Corpus
from sae.harvest.harvest import check_finite, run_contexts
from sae.harvest.uncounted import MAX_NORM_RATIO, SKIP_POSITIONS
from sae.subject.model import Subject

NORM_CONTEXTS = 32
"""Contexts whose median norm is taken."""


class NormLimits:
    """The largest norm of a counted token at each hook point: `MAX_NORM_RATIO` times the median of the first tokens that are read there."""

    def __init__(self) -> None:
        self._limits: dict[str, float] = {}

    def counted(self, values: Mapping[str, Tensor], text: Tensor) -> Tensor:
        """The tokens of the mask `text` (...) whose norms are within the limits at all hook points, given values (..., width).

        The first call with a token sets the limits. Raises `SubjectError` if values are not finite.
        """
        counted = text.clone()
        for name, value in values.items():
            norms = value.norm(dim=-1)
            check_finite(norms[text], name)
            if text.any():
                counted &= norms <= self._limits.setdefault(name, MAX_NORM_RATIO * float(norms[text].median()))
        return counted

    def of(self, hook_point: str) -> float:
        """The limit at a hook point; infinite before a token was read."""
        return self._limits.get(hook_point, float("inf"))


def counted_values(
    subject: Subject, corpus: Corpus, rows: np.ndarray, hook_points: Sequence[str], limits: NormLimits
) -> tuple[dict[str, Tensor], Tensor]:
    """Values (N, width) by hook point at the N tokens of contexts, and a mask (N,) of the tokens that count.

    Raises `SubjectError` if values are not finite.
    """
    values, text = run_contexts(subject, corpus, rows, hook_points)
    column = torch.cat([torch.arange(int(n), device=text.device) for n in corpus.contexts["length"][rows]])
    return values, limits.counted(values, text & (column >= SKIP_POSITIONS))


def norm_limit(subject: Subject, corpus: Corpus, hook_point: str) -> float:
    """The largest norm of a counted token, from the corpus's first contexts with tokens."""
    rows, limits = np.flatnonzero(corpus.contexts["length"])[:NORM_CONTEXTS], NormLimits()
    if len(rows):
        counted_values(subject, corpus, rows, [hook_point], limits)
    return limits.of(hook_point)
