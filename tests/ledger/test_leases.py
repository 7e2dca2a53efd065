"""Workers that share a ledger: who holds a job, what a death leaves, and that one question is paid for once."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.providers.server import ProviderServer
from support.services import ledger_worker
from support.services.ledger_worker import processes, question, run_concurrently

from autointerp.ledger import batches, budgets, calls, jobs, leases, nights, runs, workers
from autointerp.ledger.budgets import BudgetShortfall, Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import jobs as job_rows
from autointerp.messages import Reply, Usage

RUN, NIGHT = "run-0", "2026-11-21"
LIMITS = Limits(month=1000.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return str(request.getfixturevalue("postgres_service").ledger())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without tables, or of a file that is not there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return str(request.getfixturevalue("postgres_service").database())


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A ledger with two runs of one night, and 40 score jobs in the first."""
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        for run_id in (RUN, "run-1"):
            runs.register(tx, run_id=run_id, name="run", spec_hash="", spec="", carrier="fleet", night=NIGHT)
        jobs.plan(tx, RUN, [Job(f"job-{i}", "score", f"feature-{i}", place=i) for i in range(40)])
        nights.begin(tx, NIGHT, 1000.0)
    yield ledger
    ledger.close()


def test_one_of_several_processes_creates_the_tables_of_a_new_ledger(empty_url: str) -> None:
    with processes(6) as pool:
        assert list(pool.map(ledger_worker.open_and_close, [empty_url] * 6, timeout=120)) == [None] * 6
    with closing(Ledger.open(empty_url)) as opened, opened.read() as tx:
        assert runs.all_runs(tx) == []


def state(ledger: Ledger, job_key: str) -> tuple[str, str, int]:
    """A job's state, who holds it, and its attempts."""
    with ledger.read() as tx:
        columns = (job_rows.c.state, job_rows.c.lease_owner, job_rows.c.attempts)
        return tuple(tx.execute(sa.select(*columns).where(job_rows.c.job_key == job_key)).one())  # type: ignore[return-value]


def money(ledger: Ledger, scope: str = "") -> tuple[float, float, float]:
    """Spent, reserved and lost by the first run, or in a scope."""
    with ledger.read() as tx:
        if scope:
            row = tx.execute(
                sa.text("select spent_usd, reserved_usd, lost_usd from budgets where scope = :s"), {"s": scope}
            ).one()
            return tuple(row)  # type: ignore[return-value]
        run = runs.get(tx, RUN)
    assert run is not None
    return run["spent_usd"], run["reserved_usd"], run["lost_usd"]


def begin(ledger: Ledger, key: str, usd: float, *, run_id: str = RUN, worker: str = "a", job: str = "job-0") -> int:
    """A call in flight, paid from the run, its night and its month."""
    with ledger.write() as tx:
        month = budgets.month_of(LIMITS)
        opening = calls.NewCall(run_id, job, key, "judge", usd, worker, month)
        call_id = calls.begin(tx, opening, question(key))
        budgets.reserve(tx, run_id, usd, LIMITS, month)
    assert call_id is not None
    return call_id


def end(ledger: Ledger, call_id: int, reserved: float, cost: float | None, state: str = calls.SCORED) -> None:
    with ledger.write() as tx:
        calls.end(
            tx, call_id, run_id=RUN, state=state, reason="", reply=Reply("yes", "complete", Usage(1, 1), "m"),
            usage=Usage(1, 1), cost_usd=cost, reserved_usd=reserved, duration_s=1.0, month=budgets.month_of(LIMITS),
        )  # fmt: skip


def lease(ledger: Ledger, owner: str, most: int = 1) -> list[Job]:
    with ledger.write() as tx:
        return leases.lease(tx, RUN, "score", most=most, owner=owner)


def test_no_job_is_leased_by_two_processes(ledger: Ledger, url: str, tmp_path: Path) -> None:
    more = [Job(f"job-{i}", "score", place=i) for i in range(40, 600)]
    with ledger.write() as tx:
        jobs.plan(tx, RUN, more)
    with processes(3) as pool:
        drain, folder = ledger_worker.lease_all, str(tmp_path)
        ends = [pool.submit(drain, url, RUN, folder, 3, threads=4, most=most) for most in (1, 3, 16)]
        held = [end.result() for end in ends]
    assert Counter(itertools.chain(*held)) == {f"job-{i}": 1 for i in range(600)}


def test_jobs_are_leased_in_order_of_place_and_waiting_ones_last(ledger: Ledger) -> None:
    first, *_ = lease(ledger, "a")
    with ledger.write() as tx:
        leases.postpone(tx, RUN, first, owner="a", seconds=-1.0, error="busy")
    assert [job.place for job in lease(ledger, "a", 100)] == [*range(1, 40), 0]
    assert lease(ledger, "a") == []


@pytest.mark.parametrize("how", ["put_back", "postpone", "fault"])
def test_only_the_owner_can_release_a_job(how: str, ledger: Ledger) -> None:
    """A worker that was taken for dead comes back and finds its job with another."""

    def give_up(owner: str) -> None:
        with ledger.write() as tx:
            if how == "put_back":
                leases.put_back(tx, RUN, [job.job_key], owner)
            elif how == "postpone":
                leases.postpone(tx, RUN, job, owner=owner, seconds=60.0, error="busy")
            else:
                leases.fail_attempt(tx, RUN, job, owner=owner, error="a bug", seconds=60.0)

    [job] = lease(ledger, "dead")
    with ledger.write() as tx:
        assert leases.release_worker(tx, "dead") == 1
    [again] = lease(ledger, "alive")
    assert again.job_key == job.job_key
    give_up("dead")
    assert state(ledger, job.job_key) == ("leased", "alive", 0)
    give_up("alive")
    expected = {"put_back": ("pending", "", 0), "postpone": ("waiting", "", 0), "fault": ("waiting", "", 1)}
    assert state(ledger, job.job_key) == expected[how]
    give_up("alive")
    assert state(ledger, job.job_key) == expected[how], "a job that nobody holds"


def test_jobs_of_dead_workers_are_given_up_after_the_maximum_of_attempts(ledger: Ledger) -> None:
    with ledger.write() as tx:
        jobs.plan(tx, RUN, [Job("merge", "merge")])
    for death in range(1, jobs.MAX_ATTEMPTS + 1):
        leased = lease(ledger, "dead", 3)
        with ledger.write() as tx:
            assert len(leases.lease(tx, RUN, "merge", most=1, owner="dead")) == 1
            assert jobs.exhausted(tx, RUN) == []
        begin(ledger, f"key-{death}", 1.0, worker="dead", job=leased[0].job_key)
        with ledger.write() as tx:
            assert workers.mark_dead(tx, "dead") == (4, 1)
        assert [state(ledger, job.job_key) for job in leased] == [("pending", "", death), *[("pending", "", 0)] * 2]
        assert state(ledger, "merge") == ("pending", "", death), (
            "what is no question is at work as soon as it is leased"
        )
    with ledger.write() as tx:
        tired = jobs.exhausted(tx, RUN)
        assert {job.job_key for job, _ in tired} == {"job-0", "merge"}
        for job, _ in tired:
            jobs.fail(tx, RUN, job.job_key, "given up")
        assert jobs.exhausted(tx, RUN) == []
        assert [(job.job_key, error) for job, error in sorted(jobs.failed(tx, RUN), key=lambda f: f[0].job_key)] == [
            ("job-0", "given up"),
            ("merge", "given up"),
        ]
        jobs.reopen(tx, RUN)
    assert state(ledger, "merge") == ("pending", "", 0)
    assert state(ledger, "job-0")[0] == "failed", "verdicts.withdraw asks questions again"


def test_faults_exhaust_a_job_too(ledger: Ledger) -> None:
    for _ in range(jobs.MAX_ATTEMPTS):
        [job] = lease(ledger, "a")
        with ledger.write() as tx:
            leases.fail_attempt(tx, RUN, job, owner="a", error="a bug", seconds=-1.0)
            tx.execute(sa.update(job_rows).where(job_rows.c.state == "pending").values(state="done"))
    with ledger.read() as tx:
        assert [(job.job_key, error) for job, error in jobs.exhausted(tx, RUN)] == [("job-0", "a bug")]


def test_marking_a_worker_dead_frees_its_leases_and_books_its_calls_as_lost(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for name in ("dead", "alive"):
            workers.register(tx, name, queues="judge", version="1")
    lease(ledger, "dead", 5)
    lease(ledger, "alive", 2)
    begin(ledger, "one", 2.0, worker="dead")
    begin(ledger, "two", 4.0, worker="dead", run_id="run-1")
    begin(ledger, "three", 8.0, worker="alive")
    with ledger.write() as tx:
        assert workers.mark_dead(tx, "dead") == (5, 2)
        assert workers.mark_dead(tx, "dead") == (0, 0)
        assert [row["worker_id"] for row in workers.live(tx)] == ["alive"]
        assert not workers.beat(tx, "dead")
        assert workers.beat(tx, "alive")
        assert jobs.counts(tx, RUN) == {"score": {"pending": 38, "leased": 2}}
    assert money(ledger) == (0.0, 8.0, 2.0)
    month = f"month {budgets.month_of(LIMITS)}"
    assert money(ledger, f"night {NIGHT}") == money(ledger, month) == (0.0, 8.0, 6.0)


def test_the_batches_that_a_dead_worker_had_claimed_are_due_at_once(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for worker in ("dead", "alive"):
            workers.register(tx, worker, queues="judge", version="1")
            batches.prepare(tx, f"batch of {worker}", RUN, "score", "judge", [], worker)
        batches.prepare(tx, "taken over", RUN, "score", "judge", [], "alive")
        batches.update(tx, "taken over", poll_in_s=0.0)
        assert batches.claim(tx, "taken over", "dead") is not None
        assert batches.due(tx) == []
        workers.mark_dead(tx, "dead")
        assert {row["batch_key"] for row in batches.due(tx)} == {"batch of dead", "taken over"}
        assert batches.claim(tx, "batch of dead", "alive") is not None


@pytest.mark.parametrize("cost", [0.5, None])
def test_a_call_that_returns_after_its_worker_was_marked_dead_is_settled_once(
    cost: float | None, ledger: Ledger
) -> None:
    call_id = begin(ledger, "one", 2.0, worker="slow")
    with ledger.write() as tx:
        workers.mark_dead(tx, "slow")
    for _ in range(2):
        end(ledger, call_id, 2.0, cost, calls.LOST if cost is None else calls.SCORED)
    settled = (0.5, 0.0, 0.0) if cost else (0.0, 0.0, 2.0)
    month = f"month {budgets.month_of(LIMITS)}"
    assert money(ledger) == money(ledger, f"night {NIGHT}") == money(ledger, month) == settled
    with ledger.read() as tx:
        known = calls.find_answer(tx, "any other", "one")
        assert (known is not None and known["reply"] == "yes") == (cost is not None)


def test_two_runs_with_the_same_harvest_read_it_once(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for run_id in (RUN, "run-1"):
            runs.set_state(tx, run_id, "running")

    def begin_harvest(run_id: str) -> bool:
        with ledger.write() as tx:
            may = runs.claim_harvest(tx, run_id, "key")
            time.sleep(0.1)  # the other looks while this is not written yet
        return may

    work: list[Callable[[], bool]] = [partial(begin_harvest, run_id) for run_id in (RUN, "run-1")]
    assert sorted(run_concurrently(work)) == [False, True]


def test_dead_workers_reservations_and_settlements_never_deadlock(ledger: Ledger) -> None:
    """Two runs that pay from one night and month, workers at both dying at once, others going on: no deadlock, no cent off."""

    def live(worker: str) -> float:
        spent = 0.0
        for number in range(6):
            run_id = (RUN, "run-1")[number % 2]
            call_id = begin(ledger, f"{worker}-{number}", 1.0, run_id=run_id, worker=worker)
            if number % 3 == 0:
                with ledger.write() as tx:
                    calls.end(
                        tx, call_id, run_id=run_id, state=calls.SCORED, reason="", reply=None, usage=Usage(),
                        cost_usd=0.25, reserved_usd=1.0, duration_s=0.0, month=budgets.month_of(LIMITS),
                    )  # fmt: skip
                spent += 0.25
        with ledger.write() as tx:
            workers.mark_dead(tx, worker)
        return spent

    work: list[Callable[[], float]] = [lambda w=f"worker-{n}": live(w) for n in range(12)]  # type: ignore[misc]
    assert run_concurrently(work) == [0.5] * 12
    month = f"month {budgets.month_of(LIMITS)}"
    assert money(ledger, f"night {NIGHT}") == money(ledger, month) == (6.0, 0.0, 48.0)


def test_a_later_night_takes_over_reservations_of_calls_in_flight(ledger: Ledger) -> None:
    call_id = begin(ledger, "one", 2.0)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="", carrier="fleet", night="2026-11-22")
    assert money(ledger, f"night {NIGHT}") == (0.0, 0.0, 0.0)
    end(ledger, call_id, 2.0, 0.5)
    assert money(ledger, "night 2026-11-22") == (0.5, 0.0, 0.0)


def test_a_reservation_is_refused_by_the_exhausted_budget(ledger: Ledger) -> None:
    with ledger.write() as tx:
        nights.begin(tx, NIGHT, 3.0)
    begin(ledger, "one", 2.0)

    def refused(limits: Limits) -> BudgetShortfall:
        with pytest.raises(BudgetShortfall) as short, ledger.write() as tx:
            budgets.reserve(tx, "run-1", 1.5, limits, budgets.month_of(limits))
        return short.value

    assert refused(Limits()).scope == f"night {NIGHT}"
    assert refused(Limits(run=1.0)).scope == "run run-1"
    assert refused(Limits(run=1.0)).may_recover is False
    assert refused(Limits()).may_recover is True
    with ledger.write() as tx:
        runs.set_state(tx, "run-1", "cancelled")
    with pytest.raises(NotRunning, match="cancelled"), ledger.write() as tx:
        budgets.reserve(tx, "run-1", 0.5, Limits())
    assert money(ledger) == money(ledger, f"night {NIGHT}") == (0.0, 2.0, 0.0), "what was refused left no trace"


def test_budget_that_was_returned_meanwhile_is_seen() -> None:
    """The limit refused, and before the reason was read everything was settled."""
    assert BudgetShortfall("run r", needed=1.0, limit=10.0, spent=8.0, reserved=0.0, lost=0.5).may_recover
    assert not BudgetShortfall("run r", needed=1.0, limit=10.0, spent=9.0, reserved=0.0, lost=0.5).may_recover


def test_two_processes_that_ask_the_same_at_once_pay_once(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """Of one run and of two; each in its own order, so that now one and now the other is first."""
    numbers = list(range(30))
    with ProviderServer(delay_s=0.005) as server, processes(3) as pool:
        ends = [
            pool.submit(
                ledger_worker.ask_until_answered, url, server.url, run_id, str(tmp_path), 3, f"worker-{n}", order
            )
            for n, (run_id, order) in enumerate([(RUN, numbers), (RUN, numbers), ("run-1", numbers[::-1])])
        ]
        answers = [end.result() for end in ends]
        assert len(server.books) == 30
    assert answers[0] == answers[1] == answers[2][::-1]
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(call_rows)).scalar_one() == 30


def test_a_question_answered_since_the_lookup_is_not_asked(ledger: Ledger) -> None:
    end(ledger, begin(ledger, "one", 2.0), 2.0, 0.5)
    with ledger.write() as tx:
        assert calls.begin(tx, calls.NewCall("run-1", "job", "one", "judge", 2.0), question("one")) is None
    with ledger.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(call_rows)).scalar_one() == 1


def test_a_run_is_stopped_once(ledger: Ledger) -> None:
    def stop(reason: str) -> bool:
        with ledger.write() as tx:
            return runs.stop(tx, RUN, reason, 5)

    stopped = run_concurrently([lambda n=n: stop(f"reason {n}") for n in range(8)])  # type: ignore[misc]
    assert sum(stopped) == 1
    with ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    assert (row["state"], row["reason"]) == ("stopped", f"reason {stopped.index(True)}")


def test_leases_without_a_live_owner_are_freed(ledger: Ledger) -> None:
    """A worker that did not know of its own burial leased once more; one process left a lease; one lives."""
    with ledger.write() as tx:
        for name in ("alive", "buried"):
            workers.register(tx, name, queues="judge", version="1")
        workers.mark_dead(tx, "buried")
    for owner in ("alive", "buried", "local"):
        lease(ledger, owner)
        begin(ledger, owner, 1.0, worker="" if owner == "local" else owner)
    with ledger.write() as tx:
        assert calls.write_off_orphans(tx, RUN) == 2
        leases.release_orphans(tx, RUN)
    assert [state(ledger, f"job-{n}")[:2] for n in range(3)] == [("leased", "alive"), ("pending", ""), ("pending", "")]
    assert money(ledger) == (0.0, 1.0, 2.0)


def test_a_paid_answer_outlives_a_restart_of_the_database() -> None:
    from support.services.servers import postgres_server

    with postgres_server() as server:
        ledger = Ledger.open(server.database())
        with ledger.write() as tx:
            runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        call_id = begin(ledger, "one", 2.0)
        server.kill()

        def settle() -> None:
            ledger.write_with_retry(
                lambda tx: calls.end(
                    tx, call_id, run_id=RUN, state=calls.SCORED, reason="", reply=None, usage=Usage(), cost_usd=0.5,
                    reserved_usd=2.0, duration_s=0.0, month=budgets.month_of(LIMITS),
                )
            )  # fmt: skip

        run_concurrently([settle, server.start])
        assert money(ledger) == (0.5, 0.0, 0.0)
        assert ledger.failures > 0
        ledger.close()
