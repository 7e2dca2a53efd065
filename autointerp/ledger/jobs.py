"""Rows of `jobs`: what a run still has to do, and who is at it.

A job is pending, leased by a worker, waiting until a time, travelling in a provider's batch, done, or failed. Leasing is one
UPDATE, so two workers never hold the same job. A lease lasts as long as its worker lives: `workers` tells the dead from the slow.
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
"""A job at which work began so often and never ended well is given up: it may be what kills its workers."""
QUESTIONS = ("explain", "score", "regrade")
"""Stages whose jobs are questions to a judge, leased several at a time."""
UNFINISHED = ("pending", "leased", "waiting", "batched")
LATER = "later"
"""State of a job that falls due once all that is planned has ended."""


@dataclass(frozen=True)
class Job:
    """One piece of work by reference, mostly a question to a judge: the prompt is rendered from these when it is asked."""

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
    """The scorer whose question, or task for the subject, this is; empty for the rubric's."""
    step: int = 0
    """The scorer's step."""
    attempts: int = 0

    @property
    def asked(self) -> tuple[Item, ...]:
        """What a question of the rubric is about: one item, or the several of a group."""
        if self.items:
            return items_of(self.items)
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
        """Who is asked, as `Judgement.judge` says it."""
        return SECOND_JUDGE if self.stage == "regrade" else ""

    @property
    def explanation_key(self) -> ExplanationKey:
        """The key under which an explain job stores its explanation. Its `arm` is the aid."""
        return ExplanationKey(self.unit_id, self.arm)


def group(items: Sequence[Item]) -> str:
    """Items as they are stored with the job that asks of them together."""
    return json.dumps([_stored(item) for item in items], separators=(",", ":"))


def items_of(text: str) -> tuple[Item, ...]:
    """The items that `group` stored."""
    return tuple(
        Item(key, unit, exemplar, Arm(arm), repeat, ExplanationKey.parse(by))
        for key, unit, exemplar, arm, repeat, by in json.loads(text)
    )


def _stored(item: Item) -> list[str | int]:
    return [item.key, item.unit_id, item.exemplar_id, item.arm, item.repeat, item.explained_by.text]


_FIELDS = tuple(Job.__dataclass_fields__)


def plan(connection: Connection, run_id: str, planned: Iterable[Job], state: str = "pending") -> None:
    """Add jobs that are not there yet; whatever is known of the others stays."""
    rows = [{"run_id": run_id, "state": state, **{f: getattr(job, f) for f in _FIELDS}} for job in planned]
    for start in range(0, len(rows), 1000):
        insert_new(connection, jobs, rows[start : start + 1000])


def finish(connection: Connection, run_id: str, job_key: str) -> None:
    connection.execute(_FINISH, {"the_run": run_id, "the_job": job_key})


_FINISH = (
    sa.update(jobs)
    .where(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.job_key == sa.bindparam("the_job"))
    .values(state="done", lease_owner="", last_error="")
)


def fail(connection: Connection, run_id: str, job_key: str, error: str) -> None:
    """Give a job up for good, until somebody asks for it again."""
    _update(connection, run_id, job_key, state="failed", last_error=error)


def release_later(connection: Connection, run_id: str) -> bool:
    """Let what was planned for later fall due. Returns whether there was anything."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state == LATER)
    return connection.execute(sa.update(jobs).where(mine).values(state="pending")).rowcount > 0


def next_place(connection: Connection, run_id: str, stage: str) -> int | None:
    """The place of a stage's first job that is not done; None where all are, 0 where there are none."""
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
    found: dict[str, Job] = {}
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        rows = connection.execute(sa.select(*(jobs.c[f] for f in _FIELDS)).where(mine))
        found |= {row[0]: Job(*row) for row in rows}
    return found


def exhausted(connection: Connection, run_id: str) -> list[tuple[Job, str]]:
    """Jobs that were tried too often and are free to be taken once more, with their last error."""
    # A literal, or no planner sees that the index of what was attempted will do.
    attempted = sa.and_(jobs.c.run_id == run_id, jobs.c.attempts > sa.literal_column("0"))
    tired = sa.and_(attempted, jobs.c.attempts >= MAX_ATTEMPTS, jobs.c.state.in_(("pending", "waiting")))
    columns = [jobs.c[f] for f in _FIELDS]
    return [
        (Job(*row[:-1]), row[-1]) for row in connection.execute(sa.select(*columns, jobs.c.last_error).where(tired))
    ]


def failed(connection: Connection, run_id: str) -> list[tuple[Job, str]]:
    """A run's failed jobs with their errors."""
    columns = [jobs.c[f] for f in _FIELDS]
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state == "failed")
    return [(Job(*row[:-1]), row[-1]) for row in connection.execute(sa.select(*columns, jobs.c.last_error).where(mine))]


def reopen(connection: Connection, run_id: str) -> None:
    """Make failed jobs that are no questions pending again; `verdicts.withdraw` does so for those that are."""
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


def due(connection: Connection, run_id: str, stage: str, most: int) -> int:
    """How many jobs of a stage could be leased now, counted up to `most`."""
    waited = sa.and_(jobs.c.state == "waiting", jobs.c.not_before <= now(connection))
    found = 0
    for state in (jobs.c.state == "pending", waited):
        some = sa.select(sa.literal(1)).where(jobs.c.run_id == run_id, jobs.c.stage == stage, state).limit(most - found)
        found += connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
        if found >= most:
            break
    return found


def exists(connection: Connection, run_id: str, stages: Sequence[str], states: Sequence[str] | None = None) -> bool:
    """Whether a run has a job of one of the stages, in one of `states` if given."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(stages))
    if states is not None:
        mine = sa.and_(mine, jobs.c.state.in_(states))
    return connection.execute(sa.select(sa.exists().where(mine))).scalar_one()


def next_due(connection: Connection, run_id: str, stage: str) -> float | None:
    """When the earliest waiting job may be asked, or None when none waits."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage, jobs.c.state == "waiting")
    return connection.execute(sa.select(sa.func.min(jobs.c.not_before)).where(mine)).scalar()


def forget(connection: Connection, run_id: str, stages: Sequence[str]) -> None:
    """Remove the jobs of whole stages, which will be planned again."""
    connection.execute(sa.delete(jobs).where(jobs.c.run_id == run_id, jobs.c.stage.in_(stages)))


def forget_questions(connection: Connection, run_id: str) -> None:
    """Remove unfinished questions, which the stages that plan them will plan again."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(QUESTIONS), jobs.c.state.in_(UNFINISHED))
    connection.execute(sa.delete(jobs).where(mine))


def _of(run_id: str, job_key: str) -> ColumnElement[bool]:
    return sa.and_(jobs.c.run_id == run_id, jobs.c.job_key == job_key)


def _update(connection: Connection, run_id: str, job_key: str, **values: Any) -> None:
    connection.execute(sa.update(jobs).where(_of(run_id, job_key)).values(lease_owner="", **values))


ASKED = ("score", "probe", "regrade")


STAGES = ("prepare", "harvest", "merge", "explain", "plan", *ASKED, "finish")
