"""Stages follow each other exactly once and never early, in whatever order their jobs end and however many look."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.services.ledger_worker import run_concurrently

from autointerp.ledger import jobs, leases, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.pipeline import stages as pipeline_stages
from autointerp.questions import planned_jobs
from autointerp.questions.rounds import Round

RUN = "run-0"
STAGES = [stage for stage in jobs.STAGES if stage not in ("probe", "regrade", "studies")]


class Fleet:
    """Workers of a run in which nothing is computed: what each stage's job does to the ledger, and no more."""

    def __init__(self, ledger: Ledger, shards: int, units: int, *rounds: Sequence[str]) -> None:
        """`rounds` are the stages of each round's jobs."""
        self.ledger, self.shards, self.units = ledger, shards, units
        numbers = itertools.count()
        asked = [[Job(f"asked-{(n := next(numbers))}", stage, place=n) for stage in stages] for stages in rounds]
        self.rounds = [Round(jobs_, number + 1 < len(rounds)) for number, jobs_ in enumerate(asked)]
        self.begun: list[str] = []
        """Stages in the order in which their first job was begun."""
        with ledger.write() as tx:
            runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="", carrier="fleet")
            pipeline_stages.plan_stage(tx, RUN, "prepare")

    def lease(self, stage: str) -> Job | None:
        with self.ledger.write() as tx:
            leased = leases.lease(tx, RUN, stage, most=1, owner="me")
        if leased and stage not in self.begun:
            self.begun.append(stage)
        return leased[0] if leased else None

    def do(self, job: Job, *, fails: bool = False) -> None:
        """End a job as `workers.stages` does, or give it up."""
        with self.ledger.write() as tx:
            if fails:
                jobs.fail(tx, RUN, job.job_key, "poison")
                return
            jobs.finish(tx, RUN, job.job_key)
            if job.stage == "prepare":
                pipeline_stages.plan_stage(
                    tx, RUN, "harvest", [planned_jobs.stage_job("harvest", n) for n in range(self.shards)]
                )
            elif job.stage == "merge":
                runs.end_stage(tx, RUN, "merge")
                pipeline_stages.plan_stage(
                    tx, RUN, "explain", [Job(f"explain-{n}", "explain") for n in range(self.units)]
                )
            elif job.stage == "plan":
                found = self.rounds[job.place]
                jobs.plan(tx, RUN, found.jobs)
                pipeline_stages.end_planning(tx, RUN, job.place, found)
                if not found.jobs:
                    pipeline_stages.after_round(tx, RUN)

    def advance(self) -> bool:
        with self.ledger.write() as tx:
            return pipeline_stages.advance(tx, RUN)

    def counts(self) -> dict[str, dict[str, int]]:
        with self.ledger.read() as tx:
            return jobs.counts(tx, RUN)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_service").ledger()
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


def expect_no_stage_is_early(counts: dict[str, dict[str, int]]) -> None:
    """Whatever is planned, all before it has ended; of a round's stages none waits for another."""
    for stage in counts:
        if stage in jobs.ROUND_STAGES and set(counts[stage]) <= {"done", "failed"}:
            continue  # of a round that is over; the next may be planned
        earlier = jobs.STAGES[: jobs.STAGES.index("score" if stage in jobs.ROUND_STAGES else stage)]
        for before in earlier:
            assert set(counts.get(before, {})) <= {"done", "failed", jobs.DEFERRED}, f"{stage} is early: {counts}"
    if counts.get("plan", {}).keys() & {"pending", "leased"}:
        asked = set().union(*(counts.get(stage, {}) for stage in jobs.ROUND_STAGES))
        assert asked <= {"done", "failed"}, f"a round is planned before the last is answered: {counts}"


@settings(max_examples=15)
@given(
    st.integers(1, 3),
    st.integers(0, 3),
    st.lists(st.lists(st.sampled_from(jobs.ROUND_STAGES), max_size=4), min_size=1, max_size=3),
    st.integers(0, 10_000).map(random.Random),
)
def test_each_stage_is_planned_once_and_never_early(
    shards: int, units: int, rounds: list[list[str]], rng: random.Random
) -> None:
    """Jobs of all stages are leased, done, postponed or given up in any order, and anybody may advance at any time."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.in_folder(Path(folder))
        fleet, moved, held = Fleet(ledger, shards, units, *rounds), 0, list[Job]()
        while fleet.counts().get("finish") != {"done": 1}:
            step = rng.choice(["lease", "lease", "end", "end", "advance", "put back"])
            if step == "lease" and (job := fleet.lease(rng.choice(list(fleet.counts())))):
                held.append(job)
            elif step == "end" and held:
                job = held.pop(rng.randrange(len(held)))
                fleet.do(job, fails=job.stage in jobs.QUESTIONS and rng.random() < 0.3)
            elif step == "put back" and held:
                job = held.pop()
                with ledger.write() as tx:
                    leases.put_back(tx, RUN, [job.job_key], "me")
            elif step == "advance":
                moved += sum(fleet.advance() for _ in range(2))
            expect_no_stage_is_early(fleet.counts())
        assert moved <= 3 + len(rounds), "merge, plans and finish are planned once each"
        assert not fleet.advance()
        sizes = {stage: sum(states.values()) for stage, states in fleet.counts().items()}
        full = {"prepare": 1, "harvest": shards, "merge": 1, "explain": units, "plan": len(rounds), "finish": 1}
        full |= Counter(stage for stages in rounds for stage in stages)
        assert sizes == {stage: n for stage, n in full.items() if n}
        with ledger.read() as tx:
            row = runs.get(tx, RUN)
        assert row is not None
        unfinished = {stage for stage in STAGES if runs.stage_begun(row, stage) is not None}
        assert unfinished == {"prepare", "finish"}, "who does these two ends them"
        ledger.close()


def test_of_several_processes_that_see_a_stage_end_one_plans_the_next(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 8, 8, ["score"] * 8)
    for stage in STAGES:
        held = list(iter(lambda stage=stage: fleet.lease(stage), None))  # type: ignore[misc]

        def end(job: Job) -> int:
            fleet.do(job)
            return sum(fleet.advance() for _ in range(3))

        moved = sum(run_concurrently([lambda job=job: end(job) for job in held]))  # type: ignore[misc]
        assert moved == (1 if stage in ("harvest", "explain", "score") else 0), stage
        expect_no_stage_is_early(fleet.counts())
    assert fleet.counts() == {stage: {"done": 8 if stage in ("harvest", "explain", "score") else 1} for stage in STAGES}


def test_a_harvest_with_a_failed_shard_is_not_merged(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 2, 1, ["score"])
    for stage in ("prepare", "harvest", "harvest"):
        job = fleet.lease(stage)
        assert job is not None
        fleet.do(job, fails=job.place == 1)
    assert not fleet.advance()
    with ledger.write() as tx:
        jobs.reopen(tx, RUN)
    job = fleet.lease("harvest")
    assert job is not None
    assert job.place == 1
    fleet.do(job)
    assert fleet.advance()
    assert fleet.counts()["merge"] == {"pending": 1}


def test_a_stage_with_more_jobs_than_one_transaction_takes_is_planned_completely(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 1, pipeline_stages.PLANNED_AT_ONCE + 1, [])
    for stage in ("prepare", "harvest", "merge"):
        job = fleet.lease(stage)
        assert job is not None
        fleet.do(job)
        fleet.advance()
    assert fleet.counts()["explain"] == {"pending": pipeline_stages.PLANNED_AT_ONCE + 1}


def test_a_report_that_has_to_be_written_again_is_planned_again(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 1, 2, ["score"] * 2)
    for stage in ("prepare", "harvest", "merge", "explain", "explain", "plan", "score", "score", "finish"):
        job = fleet.lease(stage)
        assert job is not None
        fleet.do(job)
        fleet.advance()
    with ledger.write() as tx:
        jobs.delete(tx, RUN, ["plan", "finish"])
    assert fleet.advance()
    assert "finish" not in fleet.counts(), "the scoring may be planned otherwise this time"
    job = fleet.lease("plan")
    assert job is not None
    fleet.do(job)
    assert fleet.advance()
    assert fleet.counts()["finish"] == {"pending": 1}
