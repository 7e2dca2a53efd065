"""The ledger under contention, kills, other programs' schemas and databases that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import AutointerpError, UsageError
from autointerp.judges.base import MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.ledger import Ledger, calls, jobs, runs, verdicts
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import metadata
from autointerp.records import Arm, Explanation, Judgement, Outcome

RUN = "run-0"
PROMPT = Prompt("system", "user", {}, 16, ScoreMaterial("cats", MarkedText(("cat",), 0)))


def opened(folder: Path, *, jobs_: int = 0) -> Ledger:
    ledger = Ledger.in_folder(folder)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        jobs.plan(tx, RUN, [Job(f"job-{i}", "score", f"feature-{i}", place=i) for i in range(jobs_)])
    return ledger


def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returns, all started at the same moment."""
    gate = threading.Barrier(len(work))

    def held(task: Callable[[], Any]) -> Any:
        gate.wait()
        return task()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(held, task) for task in work]]


def begin(tx: sa.Connection, reserved: float) -> int:
    return calls.begin(
        tx, run_id=RUN, job_key="job-0", call_key="key", judge="judge", prompt=PROMPT, reserved_usd=reserved
    )


def end(tx: sa.Connection, call_id: int, cost: float | None, reserved: float) -> None:
    calls.end(
        tx, call_id, run_id=RUN, state=calls.SCORED, reason="", reply=None, usage=Usage(), cost_usd=cost,
        reserved_usd=reserved, duration_s=0.0,
    )  # fmt: skip


def money(ledger: Ledger) -> tuple[float, float, float]:
    with ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    return row["spent_usd"], row["reserved_usd"], row["lost_usd"]


def test_migrations_make_the_schema(tmp_path: Path) -> None:
    with Ledger.in_folder(tmp_path).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    opened(tmp_path, jobs_=3).close()
    with Ledger.in_folder(tmp_path).read() as tx:
        assert jobs.counts(tx, RUN) == {"score": {"pending": 3}}


def test_processes_that_open_a_new_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    code = "import sys, pathlib, autointerp.ledger as l; l.Ledger.in_folder(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, said


def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    with opened(tmp_path).write() as tx:
        tx.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(UsageError, match=r"schema 9999, newer than this program's \d+: upgrade autointerp") as refused:
        Ledger.in_folder(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ann:s3cret@127.0.0.1:1/ledger",
        "postgresql+nodriver://ann:s3cret@127.0.0.1/ledger",
        "nobase://ann:s3cret@127.0.0.1/ledger",
        "postgresql://ann:s3cret@127.0.0.1:port/ledger",
        "sqlite:////proc/nowhere/s3cret-free/ledger.sqlite",
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be opened: .*: check the path") as refused:
        Ledger.open(url)
    assert "s3cret@" not in str(refused.value)
    assert ":s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="file is not a database"):
        Ledger.in_folder(tmp_path)


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_done(tmp_path: Path) -> None:
    ledger = opened(tmp_path, jobs_=1)
    sa.event.listen(ledger.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    with (
        pytest.raises(AutointerpError, match=r"database or disk is full: what was done") as stopped,
        ledger.write() as tx,
    ):
        jobs.plan(tx, RUN, [Job(f"more-{i}", "score", "u") for i in range(5000)])
    assert "\n" not in str(stopped.value)
    with Ledger.in_folder(tmp_path).read() as tx:
        assert jobs.counts(tx, RUN) == {"score": {"pending": 1}}


def test_an_error_rolls_a_transaction_back(tmp_path: Path) -> None:
    ledger = opened(tmp_path, jobs_=1)

    def finish_and_fail() -> None:
        with ledger.write() as tx:
            jobs.finish(tx, RUN, "job-0")
            tx.execute(sa.text("insert into runs (run_id, name) values ('run-0', 'again')"))

    with pytest.raises(sa.exc.IntegrityError):
        finish_and_fail()
    with ledger.read() as tx:
        assert jobs.counts(tx, RUN) == {"score": {"pending": 1}}


def test_no_two_threads_ever_hold_the_same_job(tmp_path: Path) -> None:
    """Threads of one ledger and of others on the same file, as other processes would be."""
    ledgers = [opened(tmp_path, jobs_=300), Ledger.in_folder(tmp_path), Ledger.in_folder(tmp_path)]

    def drain(ledger: Ledger, most: int) -> list[str]:
        held: list[str] = []
        while True:
            with ledger.write() as tx:
                leased = jobs.lease(tx, RUN, "score", most=most, now=0.0, until=100.0)
            if not leased:
                return held
            held += [job.job_key for job in leased]

    held = at_once([lambda i=i: drain(ledgers[i % 3], 1 + i) for i in range(9)])  # type: ignore[misc]
    assert Counter(key for keys in held for key in keys) == {f"job-{i}": 1 for i in range(300)}


@given(st.lists(st.tuples(st.sampled_from(["lease", "finish", "postpone", "release"]), st.integers(0, 5)), max_size=25))
def test_a_job_is_held_by_one_until_it_is_given_up(steps: list[tuple[str, int]]) -> None:
    """Against a model: sets of pending, held, waiting and done jobs, and a clock that moves one second a step."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger = opened(Path(folder), jobs_=6)
        held: dict[str, float] = {}
        waiting: dict[str, float] = {}
        done: set[str] = set()
        for now, (step, number) in enumerate(steps):
            key = f"job-{number}"
            with ledger.write() as tx:
                if step == "lease":
                    free = [
                        k
                        for k in (f"job-{i}" for i in range(6))
                        if k not in done and held.get(k, 0) <= now and waiting.get(k, 0) <= now
                    ]
                    leased = jobs.lease(tx, RUN, "score", most=number, now=now, until=now + 4)
                    assert [job.job_key for job in leased] == free[:number]
                    held |= {job.job_key: now + 4 for job in leased}
                    waiting = {k: until for k, until in waiting.items() if k not in held}
                elif step == "finish" and key in held:
                    jobs.finish(tx, RUN, key)
                    done.add(key)
                    held.pop(key)
                elif step == "postpone" and key in held:
                    jobs.postpone(tx, RUN, key, not_before=now + 3, error="busy")
                    waiting[key] = now + 3
                    held.pop(key)
                elif step == "release":
                    jobs.release(tx, RUN)
                    held, waiting = {}, {}
                assert jobs.next_due(tx, RUN, "score") == min(waiting.values(), default=None)
        ledger.close()


def test_reservations_add_up_to_the_limit_under_32_threads(tmp_path: Path) -> None:
    ledgers = [opened(tmp_path), Ledger.in_folder(tmp_path)]

    def take(ledger: Ledger) -> int:
        taken = 0
        for _ in range(4):
            with ledger.write() as tx:
                taken += runs.reserve(tx, RUN, 0.125, 10.0)
        return taken

    assert sum(at_once([lambda i=i: take(ledgers[i % 2]) for i in range(32)])) == 80  # type: ignore[misc]
    assert money(ledgers[0]) == (0.0, 10.0, 0.0)


def test_money_moves_from_reserved_to_spent_or_lost(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with ledger.write() as tx:
        assert runs.reserve(tx, RUN, 0.5, 1.0)
        assert runs.reserve(tx, RUN, 0.5, 1.0)
        assert not runs.reserve(tx, RUN, 0.25, 1.0)
        known, unknown = begin(tx, 0.5), begin(tx, 0.5)
        end(tx, known, 0.125, 0.5)
        end(tx, unknown, None, 0.5)
    assert money(ledger) == (0.125, 0.0, 0.5)
    with ledger.write() as tx:
        assert not runs.reserve(tx, RUN, 0.5, 1.0), "what is lost counts"
        assert runs.reserve(tx, RUN, 0.375, 1.0)


def test_calls_open_at_a_kill_are_lost_at_their_upper_bound(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with ledger.write() as tx:
        for _ in range(3):
            runs.reserve(tx, RUN, 0.25, None)
            last = begin(tx, 0.25)
        end(tx, last, 0.125, 0.25)
    with ledger.write() as tx:
        assert calls.write_off(tx, RUN) == 2
        assert calls.write_off(tx, RUN) == 0
        assert calls.totals(tx, RUN)["lost_calls"] == 2
    assert money(ledger) == (0.125, 0.0, 0.5)


def test_withdrawing_an_explanation_withdraws_what_hung_on_it(tmp_path: Path) -> None:
    ledger = Ledger.in_folder(tmp_path)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        planned = [Job(f"explain-{unit}", "explain", unit) for unit in "ab"]
        planned += [
            Job(f"score-{unit}-{by}", "score", unit, f"x-{unit}", "main", 0, by) for unit in "ab" for by in "ab"
        ]
        jobs.plan(tx, RUN, planned)
        for unit in "ab":
            verdicts.add_explanation(tx, RUN, Explanation(unit, Outcome.PROVIDER_ERROR, "", "down", None))
        for job in planned:
            jobs.finish(tx, RUN, job.job_key)
            if job.stage == "score":
                judged = Judgement(job.exemplar_id, job.unit_id, Arm.MAIN, 0, Outcome.NO_EXPLANATION, None, "", None)
                verdicts.add_judgement(tx, RUN, job.job_key, job.explanation_unit_id, judged)
        verdicts.withdraw(tx, RUN, ["explain-a"])
    with ledger.read() as tx:
        assert set(verdicts.explanations_of(tx, RUN)) == {"b"}
        assert {row["job_key"] for row in verdicts.judgement_rows(tx, RUN)} == {"score-a-b", "score-b-b"}
        assert jobs.counts(tx, RUN) == {"explain": {"done": 1, "pending": 1}, "score": {"done": 2, "pending": 2}}
