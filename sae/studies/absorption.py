"""Absorption: tokens at which a concept holds and its feature is silent, because a more specific feature writes its direction there.

Chanin et al. (2024, "A is for Absorption", arXiv 2409.14507) find it for first letters with a probe. Here a witness says where the
concept holds: the feature's twin in another dictionary, the features that it splits into, or a probe. An absorber of a feature

    fires at `FEWEST_MISSED` or more of the tokens at which a witness fires and the feature is silent
    fires at such tokens for half or more of all tokens at which it fires
    has a decoder row with a cosine of `ALIGNED` or more with the feature's

A feature that is silent at more than half of its witness's tokens is narrower than the witness, not absorbed: it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sae.studies.firing import Firings
from sae.studies.matching import FEWEST, Side, rows_of

FEWEST_MISSED = 5
INSIDE = 0.5
ALIGNED = 0.2
COVERED = 0.5
"""Smallest share of its witness's tokens at which a feature fires."""
EXAMPLES = 3


@dataclass(frozen=True)
class Witness:
    """Features of one dictionary that say where a concept holds: at the tokens at which any of them fires."""

    firings: Firings
    features: tuple[int, ...]

    def tokens(self) -> npt.NDArray[np.int32]:
        """These tokens, ascending."""
        parts = [self.firings.tokens_of(feature) for feature in self.features]
        return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))

    def strength(self, tokens: npt.NDArray[np.int32]) -> float:
        """Sum over some of these tokens of the largest activation of a witness."""
        largest = np.zeros(len(tokens), dtype=np.float32)
        for feature in self.features:
            own, values = self.firings.tokens_of(feature), self.firings.values_of(feature)
            place = np.searchsorted(own, tokens).clip(max=max(0, len(own) - 1))
            if len(own):
                largest = np.maximum(largest, np.where(own[place] == tokens, values[place], 0))
        return float(largest.sum())


@dataclass(frozen=True)
class Absorption:
    """A feature and one of its absorbers.

    The witness fires at `n_holds` tokens; at `n_missed` of these the feature is silent; at `n_absorbed` of these the absorber fires.
    `inside`: the share of the absorber's tokens that these are. `carried`: what the absorber writes along the feature's direction
    there, as a share of the witness's activations. `examples`: tokens at which it is strongest.
    """

    feature: int
    absorber: int
    n_holds: int
    n_missed: int
    n_absorbed: int
    inside: float
    cosine: float
    carried: float
    examples: tuple[int, ...]


def main_feature(firings: Firings, tokens: npt.NDArray[np.int32]) -> int | None:
    """The feature whose firing agrees best with some tokens, by F1; None if none fires at them."""
    active, joint = np.unique(_events_at(firings, tokens)[1], return_counts=True)
    if not len(active):
        return None
    return int(active[np.argmax(2 * joint / (firings.counts[active] + len(tokens)))])


def absorbers(side: Side, feature: int, witness: Witness) -> Iterator[Absorption]:
    """The absorbers of a feature of `side`, as one witness shows them. Memory is that of the events at the witness's tokens."""
    firings, holds = side.firings, witness.tokens()
    missed = np.setdiff1d(holds, firings.tokens_of(feature), assume_unique=True)
    if len(holds) < FEWEST or len(missed) < FEWEST_MISSED or len(missed) > (1 - COVERED) * len(holds):
        return
    token, fired, value = _events_at(firings, missed)
    active, joint = np.unique(fired, return_counts=True)
    inside = joint / firings.counts[active]
    likely = (joint >= FEWEST_MISSED) & (inside >= INSIDE)
    candidates = active[likely]
    if not len(candidates):
        return
    cosines = (rows_of(side.dictionary, candidates) @ rows_of(side.dictionary, np.array([feature]))[0]).cpu().numpy()
    for other, n, share, cosine in zip(candidates, joint[likely], inside[likely], cosines, strict=True):
        if cosine >= ALIGNED:
            here = fired == other
            strongest = token[here][np.argsort(-value[here], kind="stable")[:EXAMPLES]]
            carried = float(cosine) * float(value[here].sum()) / max(witness.strength(token[here]), 1e-12)
            yield Absorption(
                feature, int(other), len(holds), len(missed), int(n), float(share), float(cosine), carried,
                tuple(strongest.tolist()),
            )  # fmt: skip


def _events_at(
    firings: Firings, tokens: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Token, feature and value of the events at some tokens."""
    first, last = firings.first[tokens], firings.first[tokens + 1]
    counts = last - first
    index = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return np.repeat(tokens, counts), firings.feature[index], firings.value[index]
