"""The stages of a run as plain functions over the ledger.

    prepare -> harvest, a job a shard -> merge -> explain, a job a unit -> plan -> what is asked -> plan -> ... -> finish

What is asked are `score` questions to the judge, `probe` work for the subject, and `regrade` questions to a second judge; `rounds`
says which, and `asking` what each is. `local.py` walks them in one process and `workers/` in many. Each function may be called
again at any time: what is done stays done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from autointerp.harvest import explainer_windows
from autointerp.harvest.control_units import with_controls
from autointerp.harvest.tables import exemplars_of, units_of
from autointerp.ledger import events, jobs, judgements, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import ASKED, STAGES, Job
from autointerp.questions import planned_jobs, rounds
from autointerp.questions.rounds import Round
from autointerp.records import Exemplar, Explanation, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec

PLANNED_AT_ONCE = 10_000
_FOLLOWS = {"harvest": "merge", "explain": "plan"}
"""What is planned once every job of a stage has ended. What follows a round of questions is the next, or `finish`; the other stages
are single jobs that plan what follows themselves."""


def open_run(run_id: str, spec: Spec, rubric: Rubric, results: Path, harvest: Path) -> Run:
    """A run over a finished harvest."""
    facts = json.loads((harvest / "facts.json").read_text(encoding="utf-8"))
    unit_rows, exemplar_rows = with_controls(harvest, spec)
    units = {unit.unit_id: unit for unit in units_of(unit_rows)}
    by_unit: dict[str, list[Exemplar]] = {unit_id: [] for unit_id in units}
    for exemplar in exemplars_of(exemplar_rows):
        by_unit[exemplar.unit_id].append(exemplar)
    planted = unit_rows.dropna(subset="given")
    given = dict(zip(planted["unit_id"], planted["given"], strict=True))
    neighbours = explainer_windows.alike(harvest, spec)
    return Run(run_id, spec, rubric, results / run_id, harvest, facts, units, by_unit, given, neighbours)


def register(ledger: Ledger, run: Run) -> None:
    """Write the run and its explain jobs into the ledger; both may be there already."""
    with ledger.write() as tx:
        runs.register(tx, run_id=run.run_id, name=run.spec.name, spec_hash=run.spec.hash(), spec=run.spec.to_toml())
        jobs.plan(tx, run.run_id, explaining(tx, run))


def explaining(tx: Connection, run: Run) -> list[Job]:
    """The explain jobs of a run, whose given explanations are written down."""
    for unit_id, text in run.given.items():
        judgements.add_explanation(tx, run.run_id, Explanation(ExplanationKey(unit_id), Outcome.SCORED, text, "", None))
    return planned_jobs.explain_jobs(run.units.values(), run.spec.explain.compare)


def plan_round(ledger: Ledger, run: Run, number: int) -> Round:
    """Write the questions of a round into the ledger, once all before are answered; `end_planning` then closes it."""
    found = rounds.next_round(ledger, run, number)
    for start in range(0, len(found.jobs), PLANNED_AT_ONCE):  # others may write between
        with ledger.write() as tx:
            jobs.plan(tx, run.run_id, found.jobs[start : start + PLANNED_AT_ONCE])
    return found


def end_planning(tx: Connection, run_id: str, number: int, found: Round) -> None:
    """Note that a round is planned, and that another is to be where one may follow."""
    this = planned_jobs.stage_job("plan", number)
    jobs.plan(tx, run_id, [this])
    jobs.finish(tx, run_id, this.job_key)
    runs.end_stage(tx, run_id, "plan")
    if found.more:
        jobs.plan(tx, run_id, [planned_jobs.stage_job("plan", number + 1)], jobs.LATER)
    for stage in dict.fromkeys(job.stage for job in found.jobs):
        runs.begin_stage(tx, run_id, stage)


def begin(tx: Connection, run_id: str, stage: str, planned: Sequence[Job] | None = None) -> None:
    """Plan a stage: `planned`, which may be there already, or its single job. One that has nothing to do is passed over."""
    planned = [planned_jobs.stage_job(stage)] if planned is None else planned
    jobs.plan(tx, run_id, planned)
    begun(tx, run_id, stage, empty=not planned)


def begun(tx: Connection, run_id: str, stage: str, *, empty: bool) -> None:
    """Note that a stage's jobs are planned, or that it has none and is passed over."""
    runs.begin_stage(tx, run_id, stage)
    if empty:
        runs.end_stage(tx, run_id, stage)
        begin(tx, run_id, _FOLLOWS[stage])


def advance(tx: Connection, run_id: str) -> bool:
    """Plan what follows the stages whose jobs have all ended. Returns whether anything was planned."""
    moved = False
    for stage, following in _FOLLOWS.items():
        # Looked at once more under the lock: of many who see a stage end one plans what follows.
        if _ended(tx, run_id, stage) and runs.hold(tx, run_id) and _ended(tx, run_id, stage):
            runs.end_stage(tx, run_id, stage)
            begin(tx, run_id, following)
            moved = True
    if _all_asked(tx, run_id) and runs.hold(tx, run_id) and _all_asked(tx, run_id):
        after_round(tx, run_id)
        moved = True
    return moved


def after_round(tx: Connection, run_id: str) -> None:
    """Let the next round be planned, or the run finish where none is to come."""
    for stage in ASKED:
        runs.end_stage(tx, run_id, stage)
    if jobs.release_later(tx, run_id):
        runs.begin_stage(tx, run_id, "plan")
    else:
        begin(tx, run_id, "finish")


def _all_asked(tx: Connection, run_id: str) -> bool:
    """Whether a round was planned and everything has ended, and the run is not finishing yet."""
    if jobs.exists(tx, run_id, ["finish"]) or not jobs.exists(tx, run_id, ["plan"]):
        return False
    return not jobs.exists(tx, run_id, STAGES[:-1], jobs.UNFINISHED)


def _ended(tx: Connection, run_id: str, stage: str) -> bool:
    """Whether a stage and all before it have ended, and what follows is not planned yet."""
    before = STAGES[: STAGES.index(stage) + 1]
    if jobs.exists(tx, run_id, [_FOLLOWS[stage]]) or not jobs.exists(tx, run_id, [stage]):
        return False
    if jobs.exists(tx, run_id, before, jobs.UNFINISHED):
        return False
    return stage != "harvest" or not jobs.exists(tx, run_id, [stage], ("failed",))


def give_up(tx: Connection, run_id: str, job: Job, error: str) -> str:
    """Fail a job that was tried too often; a question is unscored then, with the reason that is returned."""
    said = f"{job.stage} given up after {job.attempts} attempts: {error or 'its worker died each time'}"
    jobs.fail(tx, run_id, job.job_key, said)
    judgements.give_up(tx, run_id, job, said)
    events.add(tx, run_id, said, level="error")
    return said
