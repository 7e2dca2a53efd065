"""The cases that scorers evaluate, built from a run's units, explanations and the answers so far."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from autointerp import records
from autointerp.hashing import content_hash
from autointerp.records import COMPARED, Exemplar, Explanation, ExplanationKey, Outcome, ScorerAnswer, Unit
from autointerp.run import Run
from autointerp.scorers.base import Case, Scorer, Scores, Shape

MAX_OTHERS = 8
"""Other units whose windows a case holds, at most."""


class Cases:
    """A run's units as scorers see them, given its explanations and the answers to earlier questions."""

    def __init__(
        self,
        run: Run,
        explanations: Mapping[ExplanationKey, Explanation],
        answers: Iterable[ScorerAnswer] = (),
    ) -> None:
        self.run, self._explanations = run, explanations
        self._answers: dict[tuple[str, str, int], dict[int, Any]] = {}
        """Answers by scorer, unit and step, then by number; None for one that failed."""
        for row in answers:
            answer = row.answer if row.outcome is Outcome.SCORED else None
            self._answers.setdefault((row.scorer, row.unit_id, row.step), {})[row.number] = answer

    def units(self, scorer: Scorer) -> Iterator[Unit]:
        """The alive units that a scorer can evaluate: no planted ones if it runs the subject, which does not contain them."""
        for unit in self.run.units.values():
            suits = unit.kind in COMPARED or (unit.kind == records.PLANTED and "run" not in scorer.steps)
            if suits and unit.status == "alive" and (self.explanation(unit.unit_id) or not scorer.needs_explanation):
                yield unit

    def of(self, unit_id: str) -> Case:
        """The case of one unit."""
        unit, exemplars = self.run.units[unit_id], self.run.exemplars[unit_id]
        seed = int(content_hash([self.run.spec.units.seed, unit_id])[:8], 16)
        return Case(
            unit=unit,
            explanation=self.explanation(unit_id),
            active=tuple(records.main_exemplars(exemplars)),
            silent=tuple(e for e in exemplars if e.role == "quiet"),
            others=tuple(self._others(unit, seed)),
            seed=seed,
            neighbours=tuple(e for e in exemplars if e.role == "neighbour"),
        )

    @cached_property
    def _sharing(self) -> Counter[tuple[str, str]]:
        """Number of alive units by kind and explanation."""
        return Counter(
            (kind, _plain(self.explanation(unit_id))) for kind, ids in self.run.alive.items() for unit_id in ids
        )

    def sharing(self, unit: Unit) -> int:
        """Number of alive units of the unit's kind with the same explanation, this one included."""
        return self._sharing[unit.kind, _plain(self.explanation(unit.unit_id))]

    def answers(self, scorer: Scorer, unit_id: str) -> list[list[Any]]:
        """A unit's answers, step by step and question by question, up to the first step without any."""
        steps = []
        for step in range(len(scorer.steps)):
            by_number = self._answers.get((scorer.name, unit_id, step))
            if by_number is None:
                break
            steps.append([by_number.get(number) for number in range(max(by_number) + 1)])
        return steps

    def explanation(self, unit_id: str) -> str:
        """The unit's explanation, empty without one."""
        return records.explanation_text(self._explanations, ExplanationKey(unit_id))

    def _others(self, unit: Unit, seed: int) -> Iterator[tuple[Exemplar, ...]]:
        """Judged windows of other units of its kind: those of the nearest decoder directions first, then randomly drawn ones."""
        alive = self.run.alive[unit.kind]
        near = [other for other in self.run.neighbours.get(unit.unit_id, ()) if self.run.units[other].status == "alive"]
        # The draw may include the near units and the unit itself, which are dropped: draw that many more.
        drawn = random.Random(seed).sample(alive, min(len(alive), MAX_OTHERS + len(near) + 1))
        chosen = [other for other in dict.fromkeys([*near, *drawn]) if other != unit.unit_id]
        for other in chosen[:MAX_OTHERS]:
            yield tuple(records.main_exemplars(self.run.exemplars[other]))


def _plain(explanation: str) -> str:
    """An explanation without case, punctuation and spacing, in which explanations that say the same may differ."""
    return " ".join(re.findall(r"\w+", explanation.casefold()))


def figures(cases: Cases, scorers: Sequence[Scorer]) -> Iterator[tuple[Scorer, Unit, Scores, Sequence[Shape]]]:
    """Every unit's figures by every scorer, and the shapes of the items that they rest on."""
    for scorer in scorers:
        for unit in cases.units(scorer):
            case = replace(cases.of(unit.unit_id), sharing=cases.sharing(unit))
            answers = cases.answers(scorer, unit.unit_id)
            yield scorer, unit, scorer.score(case, answers), scorer.shapes(case, answers)
