"""Directions of the residual stream that no dictionary learnt: its basis directions, and random ones.

Scaling Monosemanticity compares its features with basis directions of the residual stream, Gurnee et al. (2023, arXiv 2305.01610) with
random directions too. The activation of a direction d at a value x is max(0, d . (x - m)), with m the mean of a sample of the corpus: without
it, dimensions with a large mean would be active everywhere or nowhere. So a direction is active at about half of all tokens, as a neuron is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sae.controls.random_weights import UnitSource, counted_values, unit_vectors
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.harvest import HarvestPlan, UnitReader
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

BASIS, RANDOM = "basis_direction", "random_direction"
"""The kinds of these units."""
_STREAM = {BASIS: 13, RANDOM: 14}


def sample_directions(kind: str, width: int, n: int, seed: int) -> tuple[UnitKey, ...]:
    """Up to `n` directions of a kind: signed dimensions drawn without replacement, or the first random directions of the seed."""
    if kind == RANDOM:
        return tuple(UnitKey(kind, i, "") for i in range(n))
    drawn = np.random.default_rng([seed, _STREAM[BASIS]]).permutation(2 * width)[:n].tolist()
    return tuple(UnitKey(kind, i // 2, "+-"[i % 2]) for i in drawn)


def vectors(keys: Sequence[UnitKey], width: int, seed: int) -> Tensor:
    """The unit vectors (n, width) of directions. A random one depends only on the seed and its number."""
    if keys[0].kind == RANDOM:
        return unit_vectors([key.index for key in keys], width, seed, stream=_STREAM[RANDOM])
    rows = torch.zeros((len(keys), width))
    for row, key in zip(rows, keys, strict=True):
        row[key.index] = -1.0 if key.sign == "-" else 1.0
    return rows


def of_directions(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, plan: HarvestPlan, limit: float, keys: Sequence[UnitKey]
) -> UnitSource:
    """A reader of directions at the dictionary's hook point. Raises `SaeError` if no token counts."""
    mean = counted_values(subject, dictionary.hook_point, corpus, plan, limit).mean(dim=0).float().cpu()
    rows = vectors(keys, len(mean), plan.seed)
    directions = Dictionary(
        W_enc=rows,
        b_enc=-(rows @ mean),
        W_dec=rows,
        b_dec=torch.zeros(len(mean)),
        activation="relu",
        hook_point=dictionary.hook_point,
        architecture="directions",
        path=f"directions for {dictionary.path}",
    )
    return UnitSource(UnitReader(subject, directions, [UnitKey("feature", row, "") for row in range(len(keys))]), limit)
