"""Planted dictionaries of which every unit's concept is known, to measure propagated explanations against the truth.

How a world is made. Concepts are families, as many features to each as Zipf's law gives, and families belong to topics.

- **Plain features** have the family's direction with noise of their own, and are active at the family's tokens.
- **Split features** (of families of 12 or more) are active at a quarter of the family's tokens, and their directions lean to a direction of their
  own. The family's explanation is right for them, theirs is wrong for the family and for their siblings.
- **Absorbing features** do the same for one token.
- **Rare features** have 3 to 8 examples and seldom a list of features that are active together with them.
- **Unexplainable features** mix the tokens of several families: no explanation is right for them. **Dense features** are active at
  common tokens and together with everything.
- How clear a family is differs from family to family, for each kind of evidence on its own: some can be told by their tokens alone, some by
  their directions alone, some hardly at all.
- Families of a topic share context words and some of their tokens and lean to one direction; marks fall at common tokens too; a third of the
  features promote tokens that have nothing to do with what they are active at.

An explanation of one unit is right for another if both have the same concept, or if it is that of the family of which the other is a split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from autointerp.explorer.propagation.checks import Ask
from autointerp.explorer.propagation.evidence import Evidence

D, TOKENS, WORDS, VECTOR = 256, 6000, 3000, 64
_COMMON = 60
"""Tokens that every feature is sometimes active at."""
_OWN_TOKENS = 25
_NEIGHBOURS = 10


@dataclass(frozen=True)
class World:
    """The evidence of N units, and of each its `family` (-1 for none) and its `part` of it (0 for the whole family)."""

    evidence: Evidence
    family: NDArray[np.int64]
    part: NDArray[np.int64]

    def right(self, unit: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the explanation of each source is right for each unit."""
        same = (self.family[unit] == self.family[source]) & (self.family[unit] >= 0)
        fits: NDArray[np.bool_] = same & ((self.part[source] == 0) | (self.part[unit] == self.part[source]))
        return fits


def make(seed: int, n: int = 4096, families: int = 100, zipf: float = 1.3, noise: float = 1.0) -> World:
    """A world of `n` units. `noise` scales the noise of decoder directions."""
    rng = np.random.default_rng(seed)
    family, part = _members(rng, n, families, zipf)
    topic_of = rng.integers(0, max(2, families // 6), families)
    tokens_of = _tokens(rng, families, topic_of)
    rare = rng.random(n) < 0.15
    shown = np.where(rare, rng.integers(3, 9, n), rng.integers(20, 41, n))
    kind = np.where(family >= 0, 0, np.where(rng.random(n) < 0.3, 2, 1))  # 1 unexplainable, 2 dense
    keep = rng.uniform(0.15, 0.8, families)
    own = [_own_tokens(rng, tokens_of, family[i], part[i], kind[i], keep[family[i]]) for i in range(n)]
    directions = _directions(rng, family, part, topic_of, noise)
    marked = _marked(rng, own, shown)
    density = 10 ** np.where(
        kind == 2, rng.uniform(-1, -0.3, n), np.where(rare, rng.uniform(-5, -4, n), rng.uniform(-4, -2, n))
    )
    evidence = Evidence.of(
        directions=directions,
        promoted=_promoted(rng, family, families),
        marked=marked,
        contexts=_contexts(rng, family, topic_of, shown),
        meanings=marked @ _vectors(rng, tokens_of, topic_of),
        nearest=_nearest(directions),
        together=_together(rng, family, part, topic_of, kind, rare),
        density=density,
    )
    return World(evidence, family, part)


def _members(rng: np.random.Generator, n: int, families: int, zipf: float) -> tuple[np.ndarray, np.ndarray]:
    weights = 1 / (np.arange(families) + 2.0) ** zipf
    family = rng.choice(families, n, p=weights / weights.sum())
    size = np.bincount(family, minlength=families)[family]
    split = (rng.random(n) < 0.2) & (size >= 12)
    part = np.where(split, rng.integers(1, 5, n), 0)
    absorbing = (rng.random(n) < 0.04) & (size >= 12)
    part = np.where(absorbing, 100 + rng.integers(0, 6, n), part)
    none = rng.random(n) < 0.1
    return np.where(none, -1, family), np.where(none, 0, part)


def _tokens(rng: np.random.Generator, families: int, topic_of: np.ndarray) -> np.ndarray:
    """Tokens of each family (families, own), the most frequent first; a fifth are those of other families of the topic."""
    tokens = rng.integers(_COMMON, TOKENS, (families, _OWN_TOKENS))
    for family in range(families):
        siblings = np.flatnonzero(topic_of == topic_of[family])
        for place in rng.choice(_OWN_TOKENS, _OWN_TOKENS // 5, replace=False):
            tokens[family, place] = tokens[rng.choice(siblings), rng.integers(_OWN_TOKENS)]
    return tokens


def _own_tokens(
    rng: np.random.Generator, tokens_of: np.ndarray, family: int, part: int, kind: int, keep: float
) -> np.ndarray:
    if kind == 2:
        return rng.integers(0, _COMMON, _OWN_TOKENS)
    if kind == 1:
        return tokens_of[rng.integers(0, len(tokens_of), 12), rng.integers(0, _OWN_TOKENS, 12)]
    whole = tokens_of[family]
    if part >= 100:
        return whole[part - 100 : part - 99]
    chosen = whole if part == 0 else whole[(np.arange(_OWN_TOKENS) * 7 + part) % 4 == 0]
    return rng.permutation(chosen)[: max(2, int(keep * len(chosen)))]


def _directions(
    rng: np.random.Generator, family: np.ndarray, part: np.ndarray, topic_of: np.ndarray, noise: float
) -> np.ndarray:
    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    topic, whole = unit(rng.normal(size=(topic_of.max() + 1, D))), unit(rng.normal(size=(len(topic_of), D)))
    concept = unit(0.5 * topic[topic_of] + whole)
    parts = unit(rng.normal(size=(len(topic_of), 110, D)).astype(np.float32))
    lean = np.where(part[:, None] > 0, 0.8 * parts[family, part], 0)
    blur = noise * rng.uniform(1.0, 2.5, len(topic_of))[family] * rng.uniform(0.7, 1.3, len(family))
    own = unit(rng.normal(size=(len(family), D))) * blur[:, None]
    return np.where(family[:, None] >= 0, concept[family] + lean + own, own).astype(np.float32)


def _marked(rng: np.random.Generator, own: list[np.ndarray], shown: np.ndarray) -> sparse.csr_array:
    row = np.repeat(np.arange(len(own)), shown)
    frequent = rng.random(len(row)) ** 1.5
    at = [own[i][int(f * len(own[i]))] for i, f in zip(row, frequent, strict=True)]
    token = np.where(rng.random(len(row)) < 0.15, rng.integers(0, _COMMON, len(row)), at)
    return sparse.coo_array((rng.uniform(0.3, 1, len(row)), (row, token)), shape=(len(own), TOKENS)).tocsr()


def _contexts(
    rng: np.random.Generator, family: np.ndarray, topic_of: np.ndarray, shown: np.ndarray
) -> sparse.csr_array:
    """Eight words of each example: two or three of the topic, one of the family at most, the others of any text."""
    of_topic = rng.integers(0, WORDS, (topic_of.max() + 1, 40))
    of_family = rng.integers(0, WORDS, (len(topic_of), 15))
    row = np.repeat(np.arange(len(family)), 8 * shown)
    topic = np.where(family[row] >= 0, topic_of[family[row]], rng.integers(0, topic_of.max() + 1, len(row)))
    any_word = (WORDS * rng.random(len(row)) ** 3).astype(int)
    kind = rng.random(len(row))
    clear = np.append(rng.uniform(0, 0.12, len(topic_of)), 0)[family[row]]
    word = np.where(kind < 0.3, of_topic[topic, rng.integers(0, 40, len(row))], any_word)
    word = np.where(kind > 1 - clear, of_family[family[row], rng.integers(0, 15, len(row))], word)
    return sparse.coo_array((np.ones(len(row)), (row, word)), shape=(len(family), WORDS)).tocsr()


def _promoted(rng: np.random.Generator, family: np.ndarray, families: int) -> sparse.csr_array:
    of_family = rng.integers(0, TOKENS, (families, 30))
    row = np.repeat(np.arange(len(family)), 10)
    says = np.repeat((rng.random(len(family)) < 0.65) & (family >= 0), 10) & (rng.random(len(row)) < 0.5)
    token = np.where(says, of_family[family[row], rng.integers(0, 30, len(row))], rng.integers(0, TOKENS, len(row)))
    return sparse.coo_array((rng.uniform(0.3, 1, len(row)), (row, token)), shape=(len(family), TOKENS)).tocsr()


def _vectors(rng: np.random.Generator, tokens_of: np.ndarray, topic_of: np.ndarray) -> np.ndarray:
    """Word vectors of tokens, which lean to their family and its topic."""
    vectors = rng.normal(size=(TOKENS, VECTOR))
    topic, family = rng.normal(size=(topic_of.max() + 1, VECTOR)), rng.normal(size=(len(topic_of), VECTOR))
    for i, tokens in enumerate(tokens_of):
        vectors[tokens] += 0.5 * topic[topic_of[i]] + rng.uniform(0, 0.8) * family[i]
    return vectors.astype(np.float32)


def _nearest(directions: np.ndarray) -> sparse.csr_array:
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    rows, others, values = [], [], []
    for at in range(0, len(unit), 1024):
        cosine = unit[at : at + 1024] @ unit.T
        cosine[np.arange(len(cosine)), at + np.arange(len(cosine))] = -1
        best = np.argpartition(-cosine, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        rows.append(np.repeat(at + np.arange(len(cosine)), _NEIGHBOURS))
        others.append(best.ravel())
        values.append(np.take_along_axis(cosine, best, axis=1).ravel())
    n = len(unit)
    return sparse.coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(others))), shape=(n, n)
    ).tocsr()


def _together(
    rng: np.random.Generator,
    family: np.ndarray,
    part: np.ndarray,
    topic_of: np.ndarray,
    kind: np.ndarray,
    rare: np.ndarray,
) -> sparse.csr_array:
    """The lists of 10: members of the family, of its topic, dense features and chance. Half of the rare features have none."""
    n = len(family)
    members = [np.flatnonzero(family == f) for f in range(len(topic_of))]
    in_topic = [np.flatnonzero((family >= 0) & (topic_of[family] == t)) for t in range(topic_of.max() + 1)]
    dense = np.flatnonzero(kind == 2)
    rows, others, shares = [], [], []
    for i in range(n):
        if rare[i] and rng.random() < 0.5:
            continue
        groups = [(rng.integers(0, n, 6), 0.03, 0.25)]
        if len(dense):
            groups.append((rng.choice(dense, 3), 0.05, 0.5))
        if family[i] >= 0:
            own = rng.choice(members[family[i]], 14)
            groups += [(own, 0.1, 0.55), (rng.choice(in_topic[topic_of[family[i]]], 8), 0.05, 0.35)]
        other = np.concatenate([group for group, _, _ in groups])
        share = np.concatenate([rng.uniform(low, high, len(group)) for group, low, high in groups])
        if (
            family[i] >= 0 and part[i]
        ):  # the whole family's features are active at a part's tokens, other parts' are not
            apart = (family[other] == family[i]) & (part[other] > 0) & (part[other] != part[i])
            share = np.where(apart, 0.2 * share, share)
        other, first = np.unique(other, return_index=True)
        best = np.argsort(-share[first])[:_NEIGHBOURS]
        kept = other[best] != i
        rows += [i] * int(kept.sum())
        others += other[best][kept].tolist()
        shares += share[first][best][kept].tolist()
    return sparse.coo_array((np.array(shares, np.float32), (rows, others)), shape=(n, n)).tocsr()


def oracle(world: World, sources: NDArray[np.int64], wrong: float = 0.0, seed: int = 0) -> Ask:
    """A judge that knows the world and answers wrongly in a share of all cases."""
    rng = np.random.default_rng(seed)

    def ask(units: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        answers = world.right(units, sources[places]) ^ (rng.random(len(units)) < wrong)
        return answers, np.ones(len(units), dtype=bool)

    return ask


def calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """The expected calibration error: over bins of probability, the mean distance of probability and share of right ones, by size."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    here = [place == i for i in range(bins) if np.any(place == i)]
    return float(sum(abs(probability[at].mean() - right[at].mean()) * at.mean() for at in here))
