"""Cases of a world's units: windows sampled as a run samples them, with each unit's explanations of every kind."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from autointerp.league.claims import CLASSES, THEME_OF, Claim, of_classes, of_themes, of_words
from autointerp.league.vocabulary import THEMES
from autointerp.league.world import WORDS, PlantedUnit, World
from autointerp.records import Exemplar, Unit
from autointerp.scorers.base import Case

RIGHT = "right"
KINDS: Mapping[str, str] = {
    "broad": "claims as much again: another class, or another theme, beside its own",
    "general": "names the theme of its class, or leaves out its condition",
    "narrow": "claims half of its words, or of a theme's classes",
    "sibling": "names another class of its theme",
    "twin": "names the other condition of its twin",
    "absorbed": "for a theme's unit from which a class' unit took its part: names the whole theme",
    "random": "is right about a unit of another theme",
}
"""Kinds of wrong explanations."""

BINS, PER_BIN, SILENT, WINDOW = 10, 5, 50, 48
"""The defaults of a run that asks other evaluations."""
OTHERS = 8
NEIGHBOURS, PER_NEIGHBOUR = 10, 5
"""Units whose windows a unit is compared with, and windows of each."""
STRONG = 0.5
"""Share of its maximum from which a neighbour counts as strongly active."""
EVALUATED: Mapping[str, int] = {"class": 4, "theme": 4, "twin": 6}
"""Units of each type that are explained in every way."""


@dataclass(frozen=True)
class Evidence:
    """The windows of a unit. `case` is without an explanation."""

    case: Case
    explanations: Mapping[str, Claim]
    """Claims by kind, among them `RIGHT`."""

    def explained(self, claim: Claim) -> Case:
        """The case under an explanation."""
        return replace(self.case, explanation=claim.text)


class Samples:
    """The evidence of a world's units."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._values = world.activations.reshape(len(world.units), -1)
        self._largest = self._values.max(axis=1)
        self._windows: dict[int, tuple[Exemplar, ...]] = {}

    @cached_property
    def evaluated(self) -> list[int]:
        """The units that are explained, the first of each type."""
        rng = np.random.default_rng([self.world.seed, 1])
        of_type = {type_: [i for i, u in enumerate(self.world.units) if u.type == type_] for type_ in EVALUATED}
        twinned = {unit.of for unit in self.world.units if unit.type == "twin"}
        of_type["class"] = [i for i in of_type["class"] if self.world.units[i].of not in twinned]
        return [int(i) for type_, n in EVALUATED.items() for i in rng.permutation(of_type[type_])[:n]]

    def of(self, unit: int) -> Evidence:
        """A unit's windows and explanations."""
        near = self._nearest(unit)
        rng = np.random.default_rng([self.world.seed, 2, unit])
        case = Case(
            unit=self._unit(unit),
            explanation="",
            active=self._active(unit),
            silent=self._silent(unit, rng),
            others=tuple(self._active(other) for other in near[:OTHERS]),
            seed=self.world.seed * 1000 + unit,
            neighbours=self._neighbours(unit, near[:NEIGHBOURS], rng),
        )
        return Evidence(case, explanations(self.world, unit))

    def _unit(self, unit: int) -> Unit:
        density = float((self._values[unit] > 0).mean())
        return Unit(f"feature-{unit}", "feature", unit, "", "", float(self._largest[unit]), density, "alive")

    def _nearest(self, unit: int) -> list[int]:
        """Other units, the nearest decoder direction first."""
        order = np.argsort(-self.world.decoder @ self.world.decoder[unit], kind="stable")
        return [int(other) for other in order if other != unit]

    def _active(self, unit: int) -> tuple[Exemplar, ...]:
        """`PER_BIN` windows of each bin of the unit's maximum."""
        if unit not in self._windows:
            rng = np.random.default_rng([self.world.seed, 3, unit])
            tokens = np.flatnonzero(self._values[unit])
            bins = self._bins(unit, self._values[unit, tokens])
            chosen = [t for b in range(1, BINS + 1) for t in rng.permutation(tokens[bins == b])[:PER_BIN]]
            self._windows[unit] = tuple(self._exemplar(unit, int(token), rng) for token in chosen)
        return self._windows[unit]

    def _silent(self, unit: int, rng: np.random.Generator) -> tuple[Exemplar, ...]:
        """Windows without any activation."""
        length = self.world.words.shape[1]
        documents = len(self.world.words)
        starts = (rng.permutation(documents) * length + rng.integers(length - WINDOW, size=documents)).tolist()
        free = list(islice((s for s in starts if not self._values[unit, s : s + WINDOW].any()), SILENT))
        return tuple(self._exemplar(unit, s + int(rng.integers(WINDOW)), rng, start=s) for s in free)

    def _neighbours(self, unit: int, near: list[int], rng: np.random.Generator) -> tuple[Exemplar, ...]:
        """Windows in which one of the nearest units is strongly active at the mark and this one is silent there."""
        chosen: list[int] = []
        for other in near:
            is_strong = self._values[other] >= STRONG * self._largest[other]
            tokens = np.flatnonzero(is_strong & (self._values[unit] == 0))
            chosen += rng.permutation(tokens)[:PER_NEIGHBOUR].tolist()
        return tuple(self._exemplar(unit, token, rng) for token in chosen)

    def _bins(self, unit: int, values: Any) -> Any:
        return np.minimum(BINS, 1 + (BINS * values / self._largest[unit]).astype(int))

    def _exemplar(self, unit: int, token: int, rng: np.random.Generator, start: int | None = None) -> Exemplar:
        """The window around a token, whose place in it is random."""
        length = self.world.words.shape[1]
        document, position = divmod(token, length)
        first = document * length
        if start is None:
            start = first + int(np.clip(position - rng.integers(WINDOW), 0, length - WINDOW))
        values = self._values[unit, start : start + WINDOW].tolist()
        words = self.world.words.ravel()[start : start + WINDOW]
        value = values[token - start]
        return Exemplar(
            exemplar_id=f"feature-{unit}@{token}", unit_id=f"feature-{unit}", role="score" if value else "quiet",
            document=document, position=position, activation=value, activation_fraction=value / float(self._largest[unit]),
            bin=int(self._bins(unit, self._values[unit, token])) if value else 0, inclusion_probability=1.0, mark=token - start,
            tokens=tuple(f" {WORDS[w]}" for w in words), token_activations=tuple(values),
        )  # fmt: skip


def explanations(world: World, number: int) -> dict[str, Claim]:
    """The right explanation of a unit and a wrong one of every kind that it can have."""
    unit, rng = world.units[number], random.Random(f"{world.seed}/{number}")
    foreign = rng.choice([other for other in world.units if other.type == unit.type and _theme(other) != _theme(unit)])
    claims = {RIGHT: unit.claim, "random": foreign.claim}
    if unit.type == "theme":
        rest = [name for name in THEMES[unit.of] if name != unit.other]
        other = _theme(foreign)
        whole = of_themes([unit.of, other], without=unit.other)
        return claims | {
            "broad": whole,
            "narrow": of_classes(rng.sample(rest, rng.choice([1, 2]))),
            "absorbed": of_themes([unit.of]),
        }
    sibling = rng.choice([name for name in THEMES[THEME_OF[unit.of]] if name != unit.of])
    words = list(CLASSES[unit.of])
    claims |= {
        "broad": of_classes([unit.of, foreign.of], unit.condition),
        "narrow": of_words(sorted(rng.sample(words, len(words) // 2), key=words.index), unit.condition),
        "sibling": of_classes([sibling], unit.condition),
        "general": of_classes([unit.of]) if unit.type == "twin" else of_themes([THEME_OF[unit.of]]),
    }
    return claims | ({"twin": of_classes([unit.of], unit.other)} if unit.type == "twin" else {})


def _theme(unit: PlantedUnit) -> str:
    return unit.of if unit.type == "theme" else THEME_OF[unit.of]
