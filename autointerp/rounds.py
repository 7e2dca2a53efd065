"""What a run asks next, given all that came: round after round, until nothing is wanted.

    round 0     the rubric's items, or the first few of each bin; first step of every other scorer
    round n     exemplars of units and bins that are not known well enough; step n of the scorers that have one
    the last    a sample for the second judge

A round is planned when all that was planned before has ended, so it rests on the same rows whoever plans it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp import cascade, plan, scorers
from autointerp.ledger import Ledger, verdicts
from autointerp.ledger.jobs import Job
from autointerp.records import Arm, Exemplar, Explanation, Item, Unit
from autointerp.scorers import cases
from autointerp.spec import Spec, content_hash

if TYPE_CHECKING:
    from autointerp.pipeline import Run


@dataclass(frozen=True)
class Round:
    """The jobs of one round, and whether another may follow."""

    jobs: list[Job]
    more: bool


def next_round(ledger: Ledger, run: Run, number: int, said: Mapping[str, Explanation] | None = None) -> Round:
    """What round `number` asks, given the explanations in the ledger, or those given."""
    spec = run.spec
    asked, wanted = _rubric(ledger, run, number)
    planned = plan.questions(spec, asked)
    steps = 0
    if spec.score.also:
        with ledger.read() as tx:
            said = said or verdicts.explanations_of(tx, run.run_id)
            known = cases.Cases(run, said, verdicts.answers_of(tx, run.run_id))
        for name in spec.score.also:
            scorer = scorers.scorer(name)
            steps = max(steps, len(scorer.steps))
            if number < len(scorer.steps):
                planned += cases.jobs(known, scorer, number)
    more = wanted or number + 1 < steps
    if not planned and not more and spec.cascade is not None:
        return Round(plan.questions(spec, cascade.sample(ledger, run), "regrade"), False)
    return Round(planned, more or spec.cascade is not None)


def _rubric(ledger: Ledger, run: Run, number: int) -> tuple[list[Item], bool]:
    """The rubric's items of a round, and whether there may be others."""
    units = list(run.units.values())
    everything = plan.score_items(run.spec, units, run.exemplars)
    if not adaptive(run.spec):
        return (everything, False) if number == 0 else ([], False)
    size = run.spec.adaptive.per_round
    ranks = _ranks(run.exemplars, units)
    first = [item for item in everything if ranks.get(item.exemplar_id, 0) < size]
    if number == 0:
        return first, True
    from autointerp import stopping, tables

    frames = tables.of_run(ledger, run)
    need = stopping.needed(
        frames.main,
        frames.units.loc[frames.units["kind"].isin(("feature", "neuron"))],
        run.spec.adaptive,
        bins=run.spec.harvest.bins,
        confidence=run.spec.report.confidence,
        look=number,
    )
    asked = [
        item
        for item in everything
        if item.arm in (Arm.MAIN, Arm.VARIANT)
        and number * size <= ranks.get(item.exemplar_id, -1) < (number + 1) * size
        and run.bin_of(item) in need.cells.get(item.unit_id, ())
    ]
    return asked, bool(asked)


def adaptive(spec: Spec) -> bool:
    """Whether any interval is to be narrow enough before sampling stops."""
    targets = spec.adaptive
    return not (targets.unit is None and targets.bin is None and targets.run is None)


def _ranks(exemplars: Mapping[str, Sequence[Exemplar]], units: Sequence[Unit]) -> dict[str, int]:
    """Each judged exemplar's place among those of its unit and bin, drawn by hash: the first are a fair sample of all."""
    return {e.exemplar_id: rank for unit in units for rank, e in _ranked(plan.judged_of(exemplars[unit.unit_id]))}


def _ranked(judged: Sequence[Exemplar]) -> Iterator[tuple[int, Exemplar]]:
    for bin_ in {e.bin for e in judged}:
        yield from enumerate(sorted((e for e in judged if e.bin == bin_), key=lambda e: content_hash(e.exemplar_id)))
