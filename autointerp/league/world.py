"""A planted world: a corpus of English words, features in superposition, and units that read them, all known.

- **Hierarchy**: a word belongs to a class, and a class to a theme; both are features, active together.
- **Frequencies** follow Zipf's law, of classes, of the words of a class, and of the words between.
- **Correlation**: a document has a theme, whose classes are frequent in it.
- **Twins**: two units respond to one class, each under another condition on the word before.
- **Absorption**: a theme's unit is silent on one class, whose own unit took over its part (Chanin et al. 2024, arXiv 2409.14507).
- **Superposition**: there are about five times as many features as dimensions, each a random direction. A unit reads its own, and so a
  little of all others: it is sometimes active where its explanation, though right, does not say so.

The subject is deterministic: the activation at a word follows from that word and the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autointerp.league.claims import BEFORE, CLASSES, THEME_OF, Claim, of_classes, of_themes
from autointerp.league.vocabulary import BETWEEN, THEMES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

DOCUMENTS, LENGTH = 2000, 128
"""Documents, and words in each."""
DIMENSIONS = 128
CLASS_WORDS = 0.1
"""Share of words that belong to a class."""
THEME_LIFT = 8.0
"""Factor by which the classes of a document's theme are more frequent in it."""
CONDITIONED = 0.6
"""Share of words of a class before which a condition's word stands."""
PAIRS = 6
"""Pairs of twins."""
SPREAD = 0.35
"""Standard deviation of the logarithm of a word's strength, which is cut at two of them."""
THRESHOLD = 0.45
"""What a unit's input has to exceed: interference is mostly below it."""
WORDS = [
    *(w for words in CLASSES.values() for w in words),
    *(w for words in BEFORE.values() for w in sorted(words)),
    *BETWEEN,
]
"""The vocabulary."""
IDS = {word: i for i, word in enumerate(WORDS)}
_NAMES, _THEMES, _CONDITIONS = list(CLASSES), list(THEMES), list(BEFORE)


class PlantedUnit(NamedTuple):
    """A unit, and the claim that is exactly right about it."""

    type: str
    """`class`, `twin` or `theme`."""
    of: str
    """Its class, or its theme."""
    condition: str
    """A twin's condition; empty for the other units."""
    other: str
    """The other twin's condition, or the class that a theme's unit lost."""

    @property
    def claim(self) -> Claim:
        """What the unit responds to."""
        if self.type == "theme":
            return of_themes([self.of], without=self.other)
        return of_classes([self.of], self.condition)


class Wiring(NamedTuple):
    """What decides the units' activations at a word."""

    reading: Floats
    """How strongly each unit reads each feature, (features + 1, units): classes, themes, twins, other words; the last row is 0."""
    twin_feature: Ints
    """The feature of each class under each condition, (classes + 1, conditions + 1); -1 if there is none."""
    strengths: Floats
    """Factors of which each word takes one, by itself and the word before it."""


@dataclass(frozen=True)
class World:
    """A world by its seed. Arrays have a row per document or unit."""

    seed: int
    units: tuple[PlantedUnit, ...]
    words: Ints
    """Ids of the corpus' words, (documents, length)."""
    activations: Floats
    """(units, documents, length)."""
    decoder: Floats
    """The units' directions, of norm 1, (units, dimensions)."""
    _wiring: Wiring

    def respond(self, words: Ints) -> Floats:
        """The units' activations at each word of a text, (units, words): as in the corpus, if the text begins as there."""
        return _activations(words[None], self._wiring)[:, 0]


def make(seed: int) -> World:
    """The world of this seed."""
    rng = np.random.default_rng([seed, 2026])
    classes = rng.permutation(len(_NAMES))
    pairs = _twins(rng, classes)
    units = _units(rng, pairs)
    features, twin_feature = _directions(rng, pairs)
    decoder, encoder = _unit_directions(units, features, twin_feature)
    words = _corpus(rng, classes, dict(pairs))
    reading = np.concatenate([features @ encoder.T, np.zeros((1, len(units)), dtype=np.float32)])
    strengths = np.exp(SPREAD * rng.standard_normal(4093).clip(-2, 2)).astype(np.float32)
    wiring = Wiring(reading, twin_feature, strengths)
    return World(seed, units, words, _activations(words, wiring), decoder, wiring)


def _twins(rng: np.random.Generator, classes: Ints) -> list[tuple[int, tuple[int, int]]]:
    """Classes of the more frequent half that have twins, each with two conditions."""
    of = rng.permutation(classes[: len(classes) // 2])[:PAIRS]
    drawn = [rng.permutation(len(_CONDITIONS))[:2] for _ in of]
    return [(int(c), (int(one), int(other))) for c, (one, other) in zip(of, drawn, strict=True)]


def _units(rng: np.random.Generator, pairs: list[tuple[int, tuple[int, int]]]) -> tuple[PlantedUnit, ...]:
    """A unit of every class, of every theme, and two of every pair of twins."""
    units = [PlantedUnit("class", name, "", "") for name in _NAMES]
    units += [PlantedUnit("theme", theme, "", str(rng.choice(list(THEMES[theme])))) for theme in _THEMES]
    for of, conditions in pairs:
        one, other = (_CONDITIONS[c] for c in conditions)
        units += [PlantedUnit("twin", _NAMES[of], one, other), PlantedUnit("twin", _NAMES[of], other, one)]
    return tuple(units)


def _directions(rng: np.random.Generator, pairs: list[tuple[int, tuple[int, int]]]) -> tuple[Floats, Ints]:
    """A direction of norm 1 for every class, theme, twin and other word; and each class' twin feature by condition, -1 for none."""
    n = len(_NAMES) + len(_THEMES) + 2 * len(pairs) + len(WORDS)
    features = rng.standard_normal((n, DIMENSIONS)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    twin = np.full((len(_NAMES) + 1, len(_CONDITIONS) + 1), -1)
    for number, (of, conditions) in enumerate(pairs):
        for place, condition in enumerate(conditions):
            twin[of, condition] = len(_NAMES) + len(_THEMES) + 2 * number + place
    return features, twin


def _unit_directions(units: tuple[PlantedUnit, ...], features: Floats, twin: Ints) -> tuple[Floats, Floats]:
    """Decoder and encoder. A class' unit writes its theme too; a theme's unit is kept silent on the class that it lost."""
    decoder, encoder = [], []
    for unit in units:
        if unit.type == "theme":
            own = features[len(_NAMES) + _THEMES.index(unit.of)]
            decoder.append(own)
            encoder.append(own - features[_NAMES.index(unit.other)])
            continue
        of, theme = _NAMES.index(unit.of), len(_NAMES) + _THEMES.index(THEME_OF[unit.of])
        own = features[twin[of, _CONDITIONS.index(unit.condition)] if unit.condition else of]
        decoder.append(own + 0.5 * features[theme] + (features[of] if unit.condition else 0))
        encoder.append(own)
    directions = np.stack(decoder)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True), np.stack(encoder)


def _corpus(rng: np.random.Generator, classes: Ints, twins: dict[int, tuple[int, int]]) -> Ints:
    """The words of all documents. `classes` are the classes by frequency."""
    shape = (DOCUMENTS, LENGTH)
    words = len(WORDS) - len(BETWEEN) + _draw(rng, _zipf(len(BETWEEN)), shape)
    theme = rng.integers(len(_THEMES), size=DOCUMENTS)
    lift = np.array([[THEME_LIFT if THEME_OF[name] == t else 1.0 for name in _NAMES] for t in _THEMES])
    share = np.empty(len(_NAMES))
    share[classes] = _zipf(len(_NAMES))
    of = np.stack([_draw(rng, p / p.sum(), (LENGTH,)) for p in (share * lift)[theme]])
    size = len(next(iter(CLASSES.values())))
    has_class = rng.random(shape) < CLASS_WORDS
    words = np.where(has_class, size * of + _draw(rng, _zipf(size), shape), words)
    # Words of conditions, before words of a class and anywhere.
    n = len(_CONDITIONS)
    weights = np.full((len(_NAMES), n), 1 / n)
    for name, pair in twins.items():
        weights[name] = 0.05
        weights[name, list(pair)] = 0.45
    condition = (rng.random((*shape, 1)) > np.cumsum(weights, axis=1)[of]).sum(axis=-1).clip(max=n - 1)
    stands = np.zeros(shape, dtype=bool)
    stands[:, :-1] = has_class[:, 1:] & (rng.random((DOCUMENTS, LENGTH - 1)) < CONDITIONED)
    condition[:, :-1] = condition[:, 1:]
    stands |= ~has_class & (rng.random(shape) < 0.02)
    first = size * len(_NAMES)
    per = len(next(iter(BEFORE.values())))
    return np.where(stands, first + per * condition + rng.integers(per, size=shape), words)


def _activations(words: Ints, wiring: Wiring) -> Floats:
    """(units, texts, words). A word of -1 is unknown and has no features."""
    reading, twin, strengths = wiring
    size, per = len(next(iter(CLASSES.values()))), len(next(iter(BEFORE.values())))
    n_classes, first = len(_NAMES), len(_NAMES) * size
    before = np.full_like(words, -1)
    before[:, 1:] = words[:, :-1]
    of = np.where((words >= 0) & (words < first), words // size, n_classes)
    condition = np.where(
        (before >= first) & (before < first + per * len(_CONDITIONS)), (before - first) // per, len(_CONDITIONS)
    )
    theme = np.array([*(n_classes + _THEMES.index(THEME_OF[name]) for name in _NAMES), -1])
    own = len(reading) - 1 - len(WORDS) + words
    total = np.where((words < first)[..., None], 0.0, reading[np.where(words < 0, -1, own)])
    total = total + reading[np.where(of < n_classes, of, -1)] + reading[theme[of]] + reading[twin[of, condition]]
    strength = strengths[(words * 31 + before * 17) % len(strengths)]
    activations: Floats = np.maximum(0, total * strength[..., None] - THRESHOLD).astype(np.float32)
    return activations.transpose(2, 0, 1)


def _zipf(n: int) -> NDArray[np.float64]:
    """Frequencies by the law of Zipf and Mandelbrot, 1 / (rank + 2)."""
    weights: NDArray[np.float64] = 1 / np.arange(3, n + 3)
    return np.asarray(weights / weights.sum())


def _draw(rng: np.random.Generator, weights: NDArray[np.float64], shape: tuple[int, ...]) -> Ints:
    """Numbers drawn with these weights."""
    return np.searchsorted(np.cumsum(weights)[:-1], rng.random(shape)).astype(np.int64)
