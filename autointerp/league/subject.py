"""The subject of a planted world: reads texts, and continues them while a unit is clamped."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from autointerp.league.world import IDS, WORDS, World
from autointerp.records import Unit
from autointerp.scorers.base import ReadPeaks, ReadText, SteerText

PROMOTED = 0.05
"""Share of a continuation's words that a clamp at the unit's maximum replaces by phrases to which the unit responds."""
MOST_PROMOTED = 0.5
"""The share at any strength; a negative clamp promotes nothing."""


class PlantedSubject:
    """Runs a scorer's tasks. What a unit promotes is what it responds to, so that its explanation is right on both sides."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read: dict[str, Any] = {}
        self._continued: dict[tuple[str, SteerText], str] = {}
        self._frequencies = np.bincount(world.words.ravel(), minlength=len(WORDS)).tolist()

    def run(self, unit: Unit, tasks: Sequence[ReadText | ReadPeaks | SteerText]) -> list[Any]:
        """The result of each task: activations at each word, the largest one in each text, or a continuation."""
        return [self._result(unit, task) for task in tasks]

    def _result(self, unit: Unit, task: ReadText | ReadPeaks | SteerText) -> Any:
        if isinstance(task, SteerText):
            return self._continuation(unit, task)
        if isinstance(task, ReadPeaks):
            return [max(self._activations(unit, text), default=0.0) for text in task.texts]
        return self._activations(unit, task.text)

    def _activations(self, unit: Unit, text: str) -> list[float]:
        if text not in self._read:
            self._read[text] = self._world.respond(np.array([IDS.get(word, -1) for word in text.split()]))
        activations: list[float] = self._read[text][unit.index].tolist()
        return activations

    def _continuation(self, unit: Unit, task: SteerText) -> str:
        key = unit.unit_id, task
        if key not in self._continued:
            rng = random.Random(f"{self._world.seed}/{unit.unit_id}/{task}")
            share = min(MOST_PROMOTED, PROMOTED * task.factor) if task.factor > 0 else 0.0
            words = rng.choices(WORDS, self._frequencies, k=task.tokens)
            phrases = self._world.units[unit.index].claim.phrases
            written = [rng.choice(phrases) if rng.random() < share else (word,) for word in words]
            self._continued[key] = " ".join(word for phrase in written for word in phrase)
        return self._continued[key]
