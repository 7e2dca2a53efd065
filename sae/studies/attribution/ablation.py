"""The difference of logits after a text when chosen features are silent: their activations at one position each are set to 0.

Features are silenced as in *Scaling Monosemanticity*, "Features as Computational Intermediates": the dictionary's error is kept. If
features of several layers are silenced together, the later ones lose the activation that they have once the earlier ones are silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.studies.attribution.gradients import Totals
from sae.studies.attribution.splicing import Edit, features_part, splicing
from sae.subject.model import Subject

BATCH_TOKENS = 2048
"""Tokens of the texts that are run together."""


class Place(NamedTuple):
    """A feature of dictionary number `dictionary` at a position of the text."""

    dictionary: int
    position: int
    feature: int


@torch.no_grad()
def differences_without(
    subject: Subject,
    totals: Totals,
    groups: Sequence[Sequence[Place]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """The difference of logits (groups,) after the text when all of a group's features are silent, one row of a pass a group.

    Tokens before the first silent one are read once for all groups that begin there. Memory is that of a pass over `BATCH_TOKENS`
    tokens.
    """
    ids, dictionaries = totals.ids, totals.dictionaries
    values = torch.zeros(len(groups))
    done = 0
    for start, numbers in _by_start(groups):
        rows = max(1, BATCH_TOKENS // (len(ids) - start))
        for part in (numbers[i : i + rows] for i in range(0, len(numbers), rows)):
            cache = subject.prefix(ids[:start], len(part)) if start else None
            first = start if cache is not None else 0
            batch = ids[None, first:].expand(len(part), -1)
            edits = [_silencing(d, number, [groups[i] for i in part], first) for number, d in enumerate(dictionaries)]
            with splicing(subject, dictionaries, edits, tuple(batch.shape)):
                values[part] = totals.difference.of(subject.last_logits(batch, cache)).cpu()
            progress(done := done + len(part), len(groups))
    return values


def _by_start(groups: Sequence[Sequence[Place]]) -> Iterator[tuple[int, list[int]]]:
    """The first positions at which groups are silenced, with the numbers of these groups. Earlier tokens are read once for all."""
    by_start: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        by_start.setdefault(min((place.position for place in group), default=0), []).append(number)
    yield from sorted(by_start.items())


def _silencing(dictionary: Dictionary, number: int, groups: Sequence[Sequence[Place]], first: int) -> Edit:
    """The edit that takes the features of dictionary `number` in `groups[i]` out of row i, whose tokens begin at position `first`."""
    places = [
        (row, p.position - first, p.feature)
        for row, group in enumerate(groups)
        for p in group
        if p.dictionary == number
    ]
    if not places:
        return lambda x, y: y
    row, position, feature = torch.tensor(places).T.to(dictionary.W_dec.device)
    distinct, column = feature.unique(return_inverse=True)

    def edit(x: Tensor, y: Tensor) -> Tensor:
        tokens = x[row, position]
        f = dictionary.encode(tokens, distinct)[torch.arange(len(row), device=x.device), column]
        lost = features_part(dictionary, f[:, None] * dictionary.W_dec[feature].to(f), tokens)
        return y.index_put((row, position), -lost.to(y), accumulate=True)

    return edit
