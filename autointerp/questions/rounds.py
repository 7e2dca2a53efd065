"""What a run asks next, given all that came: round after round, until nothing is wanted.

    round 0     the rubric's items, or the first few of each bin; first step of every other scorer
    round n     exemplars of units and bins that are not known well enough; step n of the scorers that have one
    the last    a sample for the second judge

A round is planned when all that was planned before has ended, so it rests on the same rows whoever plans it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp import records
from autointerp.findings import second_judge_sample, tables
from autointerp.hashing import content_hash
from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.questions import planned_jobs, scorer_jobs
from autointerp.records import COMPARED, Arm, Explanation, ExplanationKey, Item
from autointerp.run import Run
from autointerp.scorers import cases, registry
from autointerp.spec.spec import Spec
from autointerp.stats import stopping


@dataclass(frozen=True)
class Round:
    """The jobs of one round, and whether another may follow."""

    jobs: list[Job]
    more: bool


def next_round(
    ledger: Ledger, run: Run, number: int, said: Mapping[ExplanationKey, Explanation] | None = None
) -> Round:
    """What round `number` asks, given the explanations in the ledger, or those given."""
    spec = run.spec
    asked, wanted = _rubric(ledger, run, number)
    planned = planned_jobs.questions(spec, asked)
    steps = 0
    if spec.score.also:
        with ledger.read() as tx:
            said = said or judgements.explanations_of(tx, run.run_id)
            known = cases.Cases(run, said, judgements.answers_of(tx, run.run_id))
        for name in spec.score.also:
            scorer = registry.scorer(name)
            steps = max(steps, len(scorer.steps))
            if number < len(scorer.steps):
                planned += scorer_jobs.jobs(known, scorer, number)
    more = wanted or number + 1 < steps
    if not planned and not more and spec.cascade is not None:
        return Round(planned_jobs.questions(spec, second_judge_sample.sample(ledger, run), "regrade"), False)
    return Round(planned, more or spec.cascade is not None)


def _rubric(ledger: Ledger, run: Run, number: int) -> tuple[list[Item], bool]:
    """The rubric's items of a round, and whether there may be others. Where sampling is adaptive, the exemplars of features and
    neurons come by and by, and whatever else is judged comes first: controls are no use half done."""
    items = planned_jobs.score_items(run.spec, list(run.units.values()), run.exemplars)
    if not adaptive(run.spec):
        return (items + planned_jobs.repeated_items(run.spec, items), False) if number == 0 else ([], False)
    turns = _turns(run)
    if number == 0:
        first = [item for item in items if not _by_and_by(item) or turns.get(item.exemplar_id, 0) == 0]
        return first + planned_jobs.repeated_items(run.spec, first), True
    due = [item for item in items if _by_and_by(item) and turns.get(item.exemplar_id) == number]
    cells = _needed(ledger, run, turns, number)
    asked = [item for item in due if run.bin_of(item) in cells.get(item.unit_id, ())]
    return asked, bool(asked)


def _needed(ledger: Ledger, run: Run, turns: Mapping[str, int], number: int) -> Mapping[str, Sequence[int]]:
    """The bins of each unit that need another round. Looks at earlier rounds alone: this one may be half planned already."""
    frames = tables.of_run(ledger, run)
    return stopping.needed(
        frames.main.loc[frames.main["exemplar_id"].map(turns) < number],
        frames.units.loc[frames.units["kind"].isin(COMPARED)],
        run.spec.adaptive,
        bins=run.spec.harvest.bins,
        confidence=run.spec.report.confidence,
        look=number,
    ).cells


def _by_and_by(item: Item) -> bool:
    return item.arm in (Arm.MAIN, Arm.VARIANT)


def adaptive(spec: Spec) -> bool:
    """Whether any interval is to be narrow enough before sampling stops."""
    targets = spec.adaptive
    return not (targets.unit is None and targets.bin is None and targets.run is None)


def _turns(run: Run) -> dict[str, int]:
    """The round in which each judged exemplar of features and neurons comes at the earliest: those of a bin come in the order of their
    hash, so that the first are a fair sample of all."""
    found: dict[str, int] = {}
    for unit in run.units.values():
        judged = records.judged_of(run.exemplars[unit.unit_id]) if unit.kind in COMPARED else []
        for bin_ in {e.bin for e in judged}:
            ids = sorted((e.exemplar_id for e in judged if e.bin == bin_), key=content_hash)
            found |= {name: place // run.spec.adaptive.per_round for place, name in enumerate(ids)}
    return found
