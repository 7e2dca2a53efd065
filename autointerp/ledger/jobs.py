"""Rows of `jobs`: the work of a run, and which worker holds each piece.

A job is pending, leased by a worker, waiting until a time, in a provider's batch, deferred, done or failed. Leasing is one
UPDATE, so two workers never hold the same job. A lease lasts as long as its worker lives; the heartbeats in `workers` decide
that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from autointerp.ledger.database import insert_new, now
from autointerp.ledger.schema import jobs
from autointerp.records import SECOND_JUDGE, Arm, ExplanationKey, Item

MAX_ATTEMPTS = 5
"""After this many attempts without success a job is given up: it may be what kills its workers."""
ROUND_STAGES = ("score", "probe", "regrade")
"""Stages whose jobs a `plan` job adds, round after round."""
STAGES = ("prepare", "harvest", "merge", "explain", "plan", *ROUND_STAGES, "finish", "studies")
QUESTIONS = ("explain", "score", "regrade")
"""Stages whose jobs are questions to a judge. They are leased several at a time."""
UNFINISHED = ("pending", "leased", "waiting", "batched")
DEFERRED = "later"
"""State of a job that becomes due once everything planned before it has ended."""


@dataclass(frozen=True)
class Job:
    """One piece of work, usually a question to a judge. It holds references only; the prompt is rendered when it is asked."""

    job_key: str
    stage: str
    unit_id: str = ""
    exemplar_id: str = ""
    arm: str = ""
    repeat: int = 0
    explanation_unit_id: str = ""
    place: int = 0
    items: str = ""
    scorer: str = ""
    """The scorer whose question or subject task this is; empty for the rubric."""
    step: int = 0
    """The scorer's step: questions of a later step depend on answers to an earlier one."""
    attempts: int = 0

    @property
    def question_items(self) -> tuple[Item, ...]:
        """The items that a rubric question asks about: one, or those of a group."""
        if self.items:
            return decode_items(self.items)
        return (
            Item(
                self.job_key,
                self.unit_id,
                self.exemplar_id,
                Arm(self.arm),
                self.repeat,
                ExplanationKey.parse(self.explanation_unit_id),
            ),
        )

    @property
    def judge(self) -> str:
        """The judge as named in `Judgement.judge`: `SECOND_JUDGE` for a regrade job, else empty."""
        return SECOND_JUDGE if self.stage == "regrade" else ""

    @property
    def explanation_key(self) -> ExplanationKey:
        """The key under which an explain job stores its explanation. The job's `arm` is the explainer aid."""
        return ExplanationKey(self.unit_id, self.arm)


def encode_items(items: Sequence[Item]) -> str:
    """Items as stored in `Job.items`, for a job that asks about several at once."""
    return json.dumps([_stored(item) for item in items], separators=(",", ":"))


def decode_items(text: str) -> tuple[Item, ...]:
    """The inverse of `encode_items`."""
    return tuple(
        Item(key, unit, exemplar, Arm(arm), repeat, ExplanationKey.parse(by))
        for key, unit, exemplar, arm, repeat, by in json.loads(text)
    )


def _stored(item: Item) -> list[str | int]:
    return [item.key, item.unit_id, item.exemplar_id, item.arm, item.repeat, item.explained_by.text]


COLUMNS = tuple(jobs.c[name] for name in Job.__dataclass_fields__)
"""The columns from which `Job(*row)` is made."""


def plan(connection: Connection, run_id: str, planned: Iterable[Job], state: str = "pending") -> None:
    """Add jobs that are not in the ledger yet; existing ones stay unchanged."""
    rows = [{"run_id": run_id, "state": state, **vars(job)} for job in planned]
    for start in range(0, len(rows), 1000):
        insert_new(connection, jobs, rows[start : start + 1000])


def replace(connection: Connection, run_id: str, job_key: str, by: Iterable[Job]) -> None:
    """Delete a job that cannot be done as planned, and add others in its place."""
    connection.execute(sa.delete(jobs).where(is_job(run_id, job_key)))
    plan(connection, run_id, by)


def finish(connection: Connection, run_id: str, job_key: str) -> bool:
    """Mark a job as done. Returns False if it was deleted, with an explanation that is asked for again: then store nothing of it."""
    return connection.execute(_FINISH, {"the_run": run_id, "the_job": job_key}).rowcount == 1


_FINISH = (
    sa.update(jobs)
    .where(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.job_key == sa.bindparam("the_job"))
    .values(state="done", lease_owner="", last_error="")
)


def fail(connection: Connection, run_id: str, job_key: str, error: str) -> None:
    """Mark a job as failed. It stays so until it is reopened."""
    _update(connection, run_id, job_key, state="failed", last_error=error)


def release_deferred(connection: Connection, run_id: str) -> bool:
    """Make a run's deferred jobs pending. Returns whether there were any."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state == DEFERRED)
    return connection.execute(sa.update(jobs).where(mine).values(state="pending")).rowcount > 0


def next_place(connection: Connection, run_id: str, stage: str) -> int | None:
    """The place of a stage's first job that is not done; None if all are done, 0 if the stage has no jobs."""
    places = dict(
        connection.execute(
            sa.select(jobs.c.state, sa.func.min(jobs.c.place))
            .where(jobs.c.run_id == run_id, jobs.c.stage == stage)
            .group_by(jobs.c.state)
        ).all()
    )
    open_ = [place for state, place in places.items() if state != "done"]
    return min(open_) if open_ else None if places else 0


def by_key(connection: Connection, run_id: str, job_keys: Sequence[str]) -> dict[str, Job]:
    """Jobs of a run by their keys."""
    by_key_: dict[str, Job] = {}
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        rows = connection.execute(sa.select(*COLUMNS).where(mine))
        by_key_ |= {row[0]: Job(*row) for row in rows}
    return by_key_


def exhausted(connection: Connection, run_id: str) -> list[tuple[Job, str]]:
    """Jobs that have reached `MAX_ATTEMPTS` and that nobody holds, with their last errors."""
    # The literal lets the query planner use the partial index `ix_jobs_attempts`.
    attempted = sa.and_(jobs.c.run_id == run_id, jobs.c.attempts > sa.literal_column("0"))
    used_up = sa.and_(attempted, jobs.c.attempts >= MAX_ATTEMPTS, jobs.c.state.in_(("pending", "waiting")))
    return [
        (Job(*row[:-1]), row[-1]) for row in connection.execute(sa.select(*COLUMNS, jobs.c.last_error).where(used_up))
    ]


def failed(connection: Connection, run_id: str) -> list[tuple[Job, str]]:
    """A run's failed jobs with their errors."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state == "failed")
    return [(Job(*row[:-1]), row[-1]) for row in connection.execute(sa.select(*COLUMNS, jobs.c.last_error).where(mine))]


def reopen(connection: Connection, run_id: str) -> None:
    """Make failed jobs other than questions pending again; for questions see `judgements.withdraw`."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state == "failed", jobs.c.stage.not_in(QUESTIONS))
    connection.execute(sa.update(jobs).where(mine).values(state="pending", attempts=0))


def counts(connection: Connection, run_id: str) -> dict[str, dict[str, int]]:
    """Jobs by stage and state."""
    columns = (jobs.c.stage, jobs.c.state)
    statement = sa.select(*columns, sa.func.count()).where(jobs.c.run_id == run_id).group_by(*columns)
    result: dict[str, dict[str, int]] = {}
    for stage, state, n in connection.execute(statement):
        result.setdefault(stage, {})[state] = n
    return result


def count_due(connection: Connection, run_id: str, stage: str, most: int) -> int:
    """The number of jobs of a stage that could be leased now, counted up to `most`."""
    waited = sa.and_(jobs.c.state == "waiting", jobs.c.not_before <= now(connection))
    n = 0
    for state in (jobs.c.state == "pending", waited):
        some = sa.select(sa.literal(1)).where(jobs.c.run_id == run_id, jobs.c.stage == stage, state).limit(most - n)
        n += connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
        if n >= most:
            break
    return n


def due_scorers(connection: Connection, run_id: str, stage: str) -> list[str]:
    """The scorers of a stage's jobs that are pending or wait, in order; the rubric's is the empty string."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage, jobs.c.state.in_(("pending", "waiting")))
    return sorted(connection.execute(sa.select(jobs.c.scorer).where(mine).distinct()).scalars())


def count_held(connection: Connection, run_id: str, stage: str, scorer: str | None) -> int:
    """The number of a stage's jobs, of one scorer if given, that a worker or a batch holds."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage, jobs.c.state.in_(("leased", "batched")))
    if scorer is not None:
        mine = sa.and_(mine, jobs.c.scorer == scorer)
    return int(connection.execute(sa.select(sa.func.count()).select_from(jobs).where(mine)).scalar_one())


def exists(connection: Connection, run_id: str, stages: Sequence[str], states: Sequence[str] | None = None) -> bool:
    """Whether a run has a job in one of the stages and, if given, in one of `states`."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(stages))
    if states is not None:
        mine = sa.and_(mine, jobs.c.state.in_(states))
    return connection.execute(sa.select(sa.exists().where(mine))).scalar_one()


def are_few_questions_left(connection: Connection, run_id: str, most: int) -> bool:
    """Whether at most `most` planned questions of a run are unfinished."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(QUESTIONS), jobs.c.state.in_(UNFINISHED))
    return len(connection.execute(sa.select(jobs.c.job_key).where(mine).limit(most + 1)).all()) <= most


def count_questions_left(connection: Connection, run_id: str) -> int:
    """The number of planned questions of a run that are unfinished."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(QUESTIONS), jobs.c.state.in_(UNFINISHED))
    return int(connection.execute(sa.select(sa.func.count()).select_from(jobs).where(mine)).scalar_one())


def next_due(connection: Connection, run_id: str, stage: str) -> float | None:
    """The time at which the earliest waiting job of a stage becomes due, or None if none waits."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage, jobs.c.state == "waiting")
    return connection.execute(sa.select(sa.func.min(jobs.c.not_before)).where(mine)).scalar()


def delete(connection: Connection, run_id: str, stages: Sequence[str]) -> None:
    """Delete all jobs of the stages, which will be planned again."""
    connection.execute(sa.delete(jobs).where(jobs.c.run_id == run_id, jobs.c.stage.in_(stages)))


def delete_unfinished_questions(connection: Connection, run_id: str) -> None:
    """Delete unfinished questions, which will be planned again."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(QUESTIONS), jobs.c.state.in_(UNFINISHED))
    connection.execute(sa.delete(jobs).where(mine))


def delete_unasked(connection: Connection, run_id: str) -> None:
    """Delete the questions that no judge was asked yet. Those in a provider's batch stay."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(QUESTIONS), jobs.c.state.in_(UNFINISHED))
    connection.execute(sa.delete(jobs).where(mine, jobs.c.state != "batched"))


def delete_plans_before_explanations(connection: Connection, run_id: str) -> None:
    """Delete the plans of a run whose explanations were withdrawn after them: rounds are planned anew once all are there."""
    if exists(connection, run_id, ["explain"], UNFINISHED):
        delete(connection, run_id, ["plan"])


def is_job(run_id: str, job_key: str) -> ColumnElement[bool]:
    """The condition that selects one job."""
    return sa.and_(jobs.c.run_id == run_id, jobs.c.job_key == job_key)


def _update(connection: Connection, run_id: str, job_key: str, **values: Any) -> None:
    connection.execute(sa.update(jobs).where(is_job(run_id, job_key)).values(lease_owner="", **values))
