"""Puts other scorers' questions into a run: their jobs, what each job asks, and the figures in the end."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autointerp.ledger.jobs import Job
from autointerp.prompts.explanation import text_of
from autointerp.questions import planned_jobs
from autointerp.records import COMPARED, Answered, Explanation, Outcome, Unit
from autointerp.scorers.base import Case, Question, Scorer, Scores
from autointerp.spec.spec import content_hash

if TYPE_CHECKING:
    from autointerp.pipeline.stages import Run

OTHERS = 8
"""Units of its kind that a unit is shown beside at most."""


class Cases:
    """A run's units as scorers see them. `said` are the explanations, `answers` what questions have brought so far."""

    def __init__(self, run: Run, said: Mapping[str, Explanation], answers: Iterable[Answered] = ()) -> None:
        self.run, self._said = run, said
        self._brought: dict[tuple[str, str, int], dict[int, Any]] = {}
        for row in answers:
            found = row.answer if row.outcome is Outcome.SCORED else None
            self._brought.setdefault((row.scorer, row.unit_id, row.step), {})[row.number] = found

    def units(self, scorer: Scorer) -> Iterator[Unit]:
        """The units that a scorer can evaluate: the subject knows nothing of planted ones."""
        for unit in self.run.units.values():
            within = unit.kind in COMPARED or (unit.kind == planned_jobs.PLANTED and "run" not in scorer.steps)
            if (
                within
                and unit.status == "alive"
                and (not scorer.needs_explanation or text_of(self._said, unit.unit_id))
            ):
                yield unit

    def of(self, unit_id: str) -> Case:
        """All that is known of one unit."""
        unit, mine = self.run.units[unit_id], self.run.exemplars[unit_id]
        seed = int(content_hash([self.run.spec.units.seed, unit_id])[:8], 16)
        return Case(
            unit=unit,
            explanation=text_of(self._said, unit_id),
            active=tuple(planned_jobs.judged_of(mine)),
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
            yield tuple(planned_jobs.judged_of(self.run.exemplars[other]))


def jobs(cases: Cases, scorer: Scorer, step: int) -> list[Job]:
    """The jobs of one step: a question each, or one for all the subject's work."""
    if scorer.steps[step] == "run":
        return [planned_jobs.task_job(scorer.name, step, "probe", "", 0, step)]
    return [
        planned_jobs.task_job(scorer.name, step, "score", unit.unit_id, number, _place(unit, scorer, number), explained)
        for unit in cases.units(scorer)
        for explained in [unit.unit_id if scorer.needs_explanation else ""]
        for number, _ in enumerate(scorer.questions(cases.of(unit.unit_id), step, cases.brought(scorer, unit.unit_id)))
    ]


def question(cases: Cases, scorer: Scorer, job: Job) -> Question:
    """What a job asks. The reply may be as long as the scorer needs, or longer where the spec allows: thinking counts."""
    asked = scorer.questions(cases.of(job.unit_id), job.step, cases.brought(scorer, job.unit_id)[: job.step])
    prompt, parse = asked[job.repeat]
    most = max(prompt.max_tokens, cases.run.spec.judge.max_output_tokens)
    return Question(replace(prompt, max_tokens=most), parse)


def figures(cases: Cases, scorers: Sequence[Scorer]) -> Iterator[tuple[Scorer, Unit, Scores]]:
    """Every unit's figures by every scorer."""
    for scorer in scorers:
        for unit in cases.units(scorer):
            yield scorer, unit, scorer.score(cases.of(unit.unit_id), cases.brought(scorer, unit.unit_id))


def _place(unit: Unit, scorer: Scorer, number: int) -> int:
    return int(content_hash(["place", unit.unit_id, scorer.name, number])[:7], 16)
