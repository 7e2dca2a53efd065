"""The stages of a run as plain functions over the ledger.

    prepare -> harvest (a job per shard) -> merge -> explain (a job per unit) -> plan -> questions -> plan -> ... -> finish -> studies

A plan adds a round of questions: `score` for the judge, `probe` for the subject, `regrade` for a second judge. `questions.rounds` decides
which, and `questions.handlers` does one. The studies of the spec follow one another, so that one budget holds for all. `local.py` executes the stages in one process, `workers/` in many. Every function is
idempotent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from autointerp.harvest import explainer_windows, given_explanations
from autointerp.harvest.control_units import absences, with_controls
from autointerp.harvest.tables import exemplars_of, units_of
from autointerp.harvest.uncounted_tokens import ContextStarts
from autointerp.ledger import events, jobs, judgements, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import ROUND_STAGES, STAGES, Job
from autointerp.questions import planned_jobs, rounds
from autointerp.questions.rounds import Round
from autointerp.records import Exemplar, Explanation, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec

PLANNED_AT_ONCE = 10_000
_FOLLOWS = {"harvest": "merge", "explain": "plan"}
"""The stage that is planned once every job of a stage has ended. A round of questions is followed by the next, or by `finish`; the other
stages are single jobs that plan their successors."""


def open_run(run_id: str, spec: Spec, rubric: Rubric, results: Path, harvest: Path) -> Run:
    """A run with the units, exemplars and given explanations of a finished harvest."""
    facts = json.loads((harvest / "facts.json").read_text(encoding="utf-8"))
    unit_rows, exemplar_rows = with_controls(harvest, spec)
    units = {unit.unit_id: unit for unit in units_of(unit_rows)}
    by_unit: dict[str, list[Exemplar]] = {unit_id: [] for unit_id in units}
    for exemplar in exemplars_of(exemplar_rows, ContextStarts.of(spec, facts)):
        by_unit[exemplar.unit_id].append(exemplar)
    planted = unit_rows.dropna(subset="given")
    given = dict(zip(planted["unit_id"], planted["given"], strict=True))
    neighbours = explainer_windows.similar_units(harvest, spec)
    return Run(
        run_id=run_id,
        spec=spec,
        rubric=rubric,
        folder=results / run_id,
        harvest=harvest,
        harvest_metadata=facts,
        units=units,
        exemplars=by_unit,
        known_explanations=given,
        left_out=absences(harvest, spec),
        given=given_explanations.of_spec(spec),
        neighbours=neighbours,
    )


def register(ledger: Ledger, run: Run) -> None:
    """Add the run and its explain jobs to the ledger, unless they are there."""
    with ledger.write() as tx:
        runs.register(tx, run_id=run.run_id, name=run.spec.name, spec_hash=run.spec.hash(), spec=run.spec.to_toml())
        runs.set_harvest(tx, run.run_id, run.harvest.name.removeprefix("harvest-"))
        jobs.plan(tx, run.run_id, explain_jobs(tx, run))


def explain_jobs(tx: Connection, run: Run) -> list[Job]:
    """The explain jobs of a run. Explanations that are known, those of planted units and those that the spec gives, are stored at once."""
    for unit_id, text in run.known_explanations.items():
        judgements.add_explanation(tx, run.run_id, Explanation(ExplanationKey(unit_id), Outcome.SCORED, text, "", None))
    asked = planned_jobs.explain_jobs(run.units.values(), run.spec.explain.compare)
    if run.given is None:
        return asked
    for job in asked:
        judgements.add_explanation(tx, run.run_id, run.given.explanation(job.unit_id))
    return []


def plan_round(ledger: Ledger, run: Run, number: int) -> Round:
    """Add the questions of a round to the ledger, once all earlier ones are answered. `end_planning` then completes it."""
    planned = rounds.next_round(ledger, run, number)
    # Several transactions, so that other writers need not wait for all of it.
    for start in range(0, len(planned.jobs), PLANNED_AT_ONCE):
        with ledger.write() as tx:
            jobs.plan(tx, run.run_id, planned.jobs[start : start + PLANNED_AT_ONCE])
    return planned


def end_planning(tx: Connection, run_id: str, number: int, planned: Round) -> None:
    """Record that a round is planned, and defer a job that plans the next if there may be one."""
    this = planned_jobs.stage_job("plan", number)
    jobs.plan(tx, run_id, [this])
    jobs.finish(tx, run_id, this.job_key)
    runs.end_stage(tx, run_id, "plan")
    if planned.more:
        jobs.plan(tx, run_id, [planned_jobs.stage_job("plan", number + 1)], jobs.DEFERRED)
    for stage in dict.fromkeys(job.stage for job in planned.jobs):
        runs.begin_stage(tx, run_id, stage)


def plan_stage(tx: Connection, run_id: str, stage: str, planned: Sequence[Job] | None = None) -> None:
    """Plan a stage: the jobs in `planned`, or else its single job. A stage without jobs is skipped."""
    planned = [planned_jobs.stage_job(stage)] if planned is None else planned
    jobs.plan(tx, run_id, planned)
    stage_planned(tx, run_id, stage, empty=not planned)


def stage_planned(tx: Connection, run_id: str, stage: str, *, empty: bool) -> None:
    """Record that a stage's jobs are planned. An `empty` stage ends at once, and its successor is planned."""
    runs.begin_stage(tx, run_id, stage)
    if empty:
        runs.end_stage(tx, run_id, stage)
        plan_stage(tx, run_id, _FOLLOWS[stage])


def advance(tx: Connection, run_id: str) -> bool:
    """Plan the successors of stages whose jobs have all ended. Returns whether anything was planned."""
    moved = False
    for stage, following in _FOLLOWS.items():
        # Checked again under the lock: of several workers that see a stage end, one plans its successor.
        if _ended(tx, run_id, stage) and runs.lock_row(tx, run_id) and _ended(tx, run_id, stage):
            runs.end_stage(tx, run_id, stage)
            plan_stage(tx, run_id, following)
            moved = True
    if _all_asked(tx, run_id) and runs.lock_row(tx, run_id) and _all_asked(tx, run_id):
        after_round(tx, run_id)
        moved = True
    return moved


def after_round(tx: Connection, run_id: str) -> None:
    """Release the job that plans the next round, or plan `finish` if there is none."""
    for stage in ROUND_STAGES:
        runs.end_stage(tx, run_id, stage)
    if jobs.release_deferred(tx, run_id):
        runs.begin_stage(tx, run_id, "plan")
    else:
        plan_stage(tx, run_id, "finish")


def _all_asked(tx: Connection, run_id: str) -> bool:
    """Whether a round was planned, all of its jobs have ended, and `finish` is not planned yet."""
    if jobs.exists(tx, run_id, ["finish"]) or not jobs.exists(tx, run_id, ["plan"]):
        return False
    return not jobs.exists(tx, run_id, STAGES[: STAGES.index("finish")], jobs.UNFINISHED)


def _ended(tx: Connection, run_id: str, stage: str) -> bool:
    """Whether a stage and all before it have ended, and its successor is not planned yet."""
    before = STAGES[: STAGES.index(stage) + 1]
    if jobs.exists(tx, run_id, [_FOLLOWS[stage]]) or not jobs.exists(tx, run_id, [stage]):
        return False
    if jobs.exists(tx, run_id, before, jobs.UNFINISHED):
        return False
    return stage != "harvest" or not jobs.exists(tx, run_id, [stage], ("failed",))


def fail_permanently(tx: Connection, run_id: str, job: Job, error: str) -> str:
    """Fail a job that exhausted its attempts, and return the reason. A question becomes unscored, with that reason."""
    reason = f"{job.stage} failed after {job.attempts} attempts: {error or 'its worker died each time'}"
    jobs.fail(tx, run_id, job.job_key, reason)
    judgements.record_gave_up(tx, run_id, job, reason)
    events.add(tx, run_id, reason, level="error")
    return reason
