"""Puts other scorers' questions into a run: their jobs, what each job asks, and the figures in the end."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autointerp import records
from autointerp.hashing import content_hash
from autointerp.records import COMPARED, Answered, Explanation, ExplanationKey, Outcome, Unit, text_of
from autointerp.run import Run
from autointerp.scorers.base import Case, Scorer, Scores

OTHERS = 8
"""Units of its kind that a unit is shown beside at most."""


class Cases:
    """A run's units as scorers see them. `said` are the explanations, `answers` what questions have brought so far."""

    def __init__(self, run: Run, said: Mapping[ExplanationKey, Explanation], answers: Iterable[Answered] = ()) -> None:
        self.run, self._said = run, said
        self._brought: dict[tuple[str, str, int], dict[int, Any]] = {}
        for row in answers:
            found = row.answer if row.outcome is Outcome.SCORED else None
            self._brought.setdefault((row.scorer, row.unit_id, row.step), {})[row.number] = found

    def units(self, scorer: Scorer) -> Iterator[Unit]:
        """The units that a scorer can evaluate: the subject knows nothing of planted ones."""
        for unit in self.run.units.values():
            within = unit.kind in COMPARED or (unit.kind == records.PLANTED and "run" not in scorer.steps)
            if (
                within
                and unit.status == "alive"
                and (not scorer.needs_explanation or text_of(self._said, ExplanationKey(unit.unit_id)))
            ):
                yield unit

    def of(self, unit_id: str) -> Case:
        """All that is known of one unit."""
        unit, mine = self.run.units[unit_id], self.run.exemplars[unit_id]
        seed = int(content_hash([self.run.spec.units.seed, unit_id])[:8], 16)
        return Case(
            unit=unit,
            explanation=text_of(self._said, ExplanationKey(unit_id)),
            active=tuple(records.judged_of(mine)),
            quiet=tuple(e for e in mine if e.role == "quiet"),
            others=tuple(self._others(unit, seed)),
            seed=seed,
        )

    def brought(self, scorer: Scorer, unit_id: str) -> list[list[Any]]:
        """What each step brought for a unit so far, question by question."""
        steps = []
        for step in range(len(scorer.steps)):
            found = self._brought.get((scorer.name, unit_id, step))
            if found is None:
                break
            steps.append([found.get(number) for number in range(max(found) + 1)])
        return steps

    def _others(self, unit: Unit, seed: int) -> Iterator[tuple[Any, ...]]:
        """Judged windows of units of its kind: those of the nearest decoder directions first, then any, drawn by the seed."""
        alive = self.run.alive[unit.kind]
        near = [other for other in self.run.neighbours.get(unit.unit_id, ()) if self.run.units[other].status == "alive"]
        # Enough that those which are near, or the unit itself, can be left out.
        drawn = random.Random(seed).sample(alive, min(len(alive), OTHERS + len(near) + 1))
        chosen = [other for other in dict.fromkeys([*near, *drawn]) if other != unit.unit_id]
        for other in chosen[:OTHERS]:
            yield tuple(records.judged_of(self.run.exemplars[other]))


def figures(cases: Cases, scorers: Sequence[Scorer]) -> Iterator[tuple[Scorer, Unit, Scores]]:
    """Every unit's figures by every scorer."""
    for scorer in scorers:
        for unit in cases.units(scorer):
            yield scorer, unit, scorer.score(cases.of(unit.unit_id), cases.brought(scorer, unit.unit_id))
