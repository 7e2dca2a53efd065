"""Plans the next round of questions from the answers so far.

    round 0     the rubric's items, or the first few of each bin; the first step of every scorer
    round n     more exemplars of the units and bins whose intervals are still too wide; step n of the scorers that have one
    last round  a sample for the second judge

A round is planned once every earlier question has ended, so that its plan does not depend on who makes it, or when.
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
    """The jobs of one round, and whether another round may follow."""

    jobs: list[Job]
    more: bool


def next_round(
    ledger: Ledger, run: Run, number: int, explanations: Mapping[ExplanationKey, Explanation] | None = None
) -> Round:
    """Plan round `number`. `explanations` replace those in the ledger."""
    spec = run.spec
    items, more_items = _rubric_items(ledger, run, number)
    planned = planned_jobs.question_jobs(spec, items)
    n_steps = 0
    if spec.scorers:
        with ledger.read() as tx:
            explanations = explanations or judgements.explanations_of(tx, run.run_id)
            known = cases.Cases(run, explanations, judgements.answers_of(tx, run.run_id))
        for name in spec.scorers:
            scorer = registry.scorer(name)
            n_steps = max(n_steps, len(scorer.steps))
            if number < len(scorer.steps):
                planned += scorer_jobs.jobs(known, scorer, number)
    more = more_items or number + 1 < n_steps
    if not planned and not more and spec.cascade is not None:
        sample = second_judge_sample.sample(ledger, run)
        return Round(planned_jobs.question_jobs(spec, sample, "regrade"), False)
    return Round(planned, more or spec.cascade is not None)


def adaptive(spec: Spec) -> bool:
    """Whether sampling stops as soon as the intervals that the spec names are narrow enough."""
    targets = spec.adaptive
    return not (targets.unit is None and targets.bin is None and targets.run is None)


def _rubric_items(ledger: Ledger, run: Run, number: int) -> tuple[list[Item], bool]:
    """The rubric's items of a round, and whether another round may have more.

    With adaptive sampling, the exemplars of features and neurons are spread over the rounds. All other items, such as controls, are
    in round 0: a control that is judged in part is of no use.
    """
    items = planned_jobs.score_items(run.spec, list(run.units.values()), run.exemplars)
    if not adaptive(run.spec):
        return (items + planned_jobs.repeated_items(run.spec, items), False) if number == 0 else ([], False)
    round_of = _round_of_exemplar(run)
    if number == 0:
        first = [item for item in items if not _is_sampled(item) or round_of.get(item.exemplar_id, 0) == 0]
        return first + planned_jobs.repeated_items(run.spec, first), True
    candidates = [item for item in items if _is_sampled(item) and round_of.get(item.exemplar_id) == number]
    open_bins = _open_bins(ledger, run, round_of, number)
    chosen = [item for item in candidates if run.bin_of(item) in open_bins.get(item.unit_id, ())]
    return chosen, bool(chosen)


def _open_bins(ledger: Ledger, run: Run, round_of: Mapping[str, int], number: int) -> Mapping[str, Sequence[int]]:
    """The bins of each unit that need another round, judged by earlier rounds only: this round may be half planned already."""
    frames = tables.of_run(ledger, run)
    judged = frames.main.loc[frames.main["exemplar_id"].map(round_of) < number]
    return stopping.needed(
        judged.assign(document=judged["exemplar_id"].map(tables.documents(frames.exemplars))),
        frames.units.loc[frames.units["kind"].isin(COMPARED)],
        run.spec.adaptive,
        bins=run.spec.harvest.bins,
        confidence=run.spec.report.confidence,
        look=number,
    ).cells


def _is_sampled(item: Item) -> bool:
    """Whether adaptive sampling decides about the item."""
    return item.arm in (Arm.MAIN, Arm.VARIANT)


def _round_of_exemplar(run: Run) -> dict[str, int]:
    """The earliest round of each judged exemplar of features and neurons, by exemplar id.

    Within a bin the order is that of the ids' hashes, so that the first few are a fair sample of the bin.
    """
    rounds: dict[str, int] = {}
    for unit in run.units.values():
        exemplars = records.main_exemplars(run.exemplars[unit.unit_id]) if unit.kind in COMPARED else []
        for bin_ in {e.bin for e in exemplars}:
            ids = sorted((e.exemplar_id for e in exemplars if e.bin == bin_), key=content_hash)
            rounds |= {name: rank // run.spec.adaptive.per_round for rank, name in enumerate(ids)}
    return rounds
