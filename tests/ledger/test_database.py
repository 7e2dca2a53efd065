"""The ledger under contention, kills, other programs' schemas and databases that fail."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from support.services.ledger_worker import run_concurrently
from support.services.servers import PostgresServer

from autointerp.errors import AutointerpError, LedgerFailed, LedgerRejected, UsageError
from autointerp.ledger import budgets, calls, database, events, jobs, judgements, leases, runs, schema
from autointerp.ledger.budgets import BudgetShortfall, Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.revisions import MIGRATIONS
from autointerp.ledger.run_lock import run_lock
from autointerp.ledger.schema import metadata
from autointerp.locks import AlreadyLocked
from autointerp.messages import MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.records import Arm, Explanation, ExplanationKey, Judgement, Outcome

RUN = "run-0"
PROMPT = Prompt("system", "user", {}, 16, ScoreMaterial("cats", MarkedText(("cat",), 0)))


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


def opened(where: Path | str, *, jobs_: int = 0) -> Ledger:
    ledger = Ledger.open(where) if isinstance(where, str) else Ledger.in_folder(where)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        jobs.plan(tx, RUN, [Job(f"job-{i}", "score", f"feature-{i}", place=i) for i in range(jobs_)])
    return ledger


def begin(tx: sa.Connection, reserved: float, key: str = "key") -> int:
    call_id = calls.begin(tx, calls.NewCall(RUN, "job-0", key, "judge", reserved), PROMPT)
    assert call_id is not None
    return call_id


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


def differences(connection: sa.Connection) -> list[Any]:
    """Between what migrations made and the schema, comments apart."""
    found = compare_metadata(MigrationContext.configure(connection), metadata)
    return [change for change in found if not isinstance(change, list) or {c[0] for c in change} != {"modify_comment"}]


def test_migrations_make_the_schema(empty_url: str) -> None:
    ledger = Ledger.open(empty_url)
    with ledger.read() as connection:
        assert differences(connection) == []
    ledger.close()


def of_the_first_schema(url: str) -> None:
    """Two runs were killed with a lease each and the same question in flight, one of them with another besides."""
    engine, config = sa.create_engine(url), Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        old = sa.MetaData()
        old.reflect(connection)
        run = {"name": "run", "spec_hash": "", "spec": "", "state": "running", "reason": "", "created_at": 1.0}
        run |= {"updated_at": 1.0, "wall_s": 2.0, "spent_usd": 0.5, "lost_usd": 0.0, "stage_s": "{}"}
        job = {"stage": "score", "unit_id": "u", "exemplar_id": "", "arm": "", "repeat": 0, "explanation_unit_id": ""}
        job |= {"attempts": 1, "not_before": 0.0, "lease_until": 9e9, "last_error": ""}
        call = {"judge": "j", "served_model": "", "reason": "", "system_hash": "h", "user": "u", "reply": "yes"}
        call |= dict.fromkeys(("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"), 1)
        call |= {"reserved_usd": 0.25, "cost_usd": None, "request_id": "", "started_at": 1.0, "duration_s": 1.0}
        connection.execute(sa.insert(old.tables["texts"]).values(text_hash="h", text="system"))
        for run_id, in_flight in (("run-0", 2), ("run-1", 1)):
            values = run | {"run_id": run_id, "reserved_usd": 0.25 * in_flight}
            connection.execute(sa.insert(old.tables["runs"]).values(**values))
            for number, state in enumerate(("leased", "pending", "done")):
                values = job | {"run_id": run_id, "job_key": f"job-{number}", "state": state, "place": number}
                connection.execute(sa.insert(old.tables["jobs"]).values(**values))
            for key, state in (("answered", "scored"), ("twice", "open"), ("once", "open"))[: 1 + in_flight]:
                values = call | {"run_id": run_id, "job_key": "job-0", "call_key": key, "state": state}
                connection.execute(sa.insert(old.tables["calls"]).values(**values))
    engine.dispose()


def test_a_ledger_of_the_first_schema_keeps_its_rows_and_budgets(empty_url: str) -> None:
    of_the_first_schema(empty_url)
    ledger = Ledger.open(empty_url)
    with ledger.read() as connection:
        assert differences(connection) == []
        assert jobs.counts(connection, RUN) == {"score": {"leased": 1, "pending": 1, "done": 1}}
        states = connection.execute(sa.text("select run_id, call_key, state from calls order by call_id")).all()
        first = runs.get(connection, RUN)
    assert [tuple(row) for row in states] == [
        ("run-0", "answered", "scored"), ("run-0", "twice", "lost"), ("run-0", "once", "open"),
        ("run-1", "answered", "scored"), ("run-1", "twice", "open"),
    ]  # fmt: skip
    assert first is not None
    assert (first["carrier"], first["harvest_key"], first["night"]) == ("local", "", "")
    assert money(ledger) == (0.5, 0.25, 0.25)
    with ledger.write() as tx:
        leases.release(tx, RUN)
        assert calls.write_off(tx, RUN) == 1
        assert [job.job_key for job in leases.lease(tx, RUN, "score", most=9, owner="me")] == ["job-0", "job-1"]
    assert money(ledger) == (0.5, 0.0, 0.5)
    ledger.close()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    opened(tmp_path, jobs_=3).close()
    with Ledger.in_folder(tmp_path).read() as tx:
        assert jobs.counts(tx, RUN) == {"score": {"pending": 3}}


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
        "postgresql+psycopg://127.0.0.1:1/ledger?user=ann&password=s3cret",
        "sqlite:////proc/nowhere/s3cret-free/ledger.sqlite",
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be opened: .*: check the path") as refused:
        Ledger.open(url)
    assert "s3cret@" not in str(refused.value)
    assert ":s3cret" not in str(refused.value)
    assert "password=s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="file is not a database"):
        Ledger.in_folder(tmp_path)


def test_a_damaged_page_is_one_line(tmp_path: Path) -> None:
    opened(tmp_path, jobs_=200).close()
    path = tmp_path / "ledger.sqlite"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))

    def look() -> None:
        with Ledger.in_folder(tmp_path).read() as tx:
            jobs.counts(tx, RUN)
            runs.get(tx, RUN)

    with pytest.raises(AutointerpError, match="malformed") as refused:
        look()
    assert "\n" not in str(refused.value)
    assert "SELECT" not in str(refused.value)


def test_an_empty_file_is_refused_and_never_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with pytest.raises(UsageError, match=r"is empty \(0 bytes\).*restore it") as refused:
        Ledger.in_folder(tmp_path)
    assert "\n" not in str(refused.value)
    assert path.stat().st_size == 0


def test_a_new_ledger_leaves_no_other_files(tmp_path: Path) -> None:
    Ledger.in_folder(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


@pytest.mark.parametrize("name", ["q?mode=ro", "a#b", "50% off", "a&b=c", "é ü", "::x"])
def test_a_ledger_lies_in_its_folder_whatever_the_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    ledger = opened(folder, jobs_=1)
    ledger.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "ledger.sqlite").is_file()


def test_errors_quote_neither_values_nor_statements(url: str) -> None:
    secret = "the prompt of a confidential corpus"
    ledger = opened(url)

    def write_twice() -> None:
        with ledger.write() as tx:
            row = {"text_hash": "h", "text": secret}
            tx.execute(sa.insert(schema.texts), [row])
            tx.execute(sa.insert(schema.texts), [row])

    with pytest.raises(LedgerRejected) as rejected:
        write_twice()
    shown = "".join(traceback.format_exception(rejected.value))
    assert "INSERT" not in shown
    assert secret not in shown
    ledger.close()


def test_a_text_beyond_its_columns_length_is_rejected(url: str) -> None:
    ledger = opened(url)

    def write(length: int) -> None:
        with ledger.write() as tx:
            tx.execute(sa.update(schema.runs).values(name="n" * length))

    write(64)
    with pytest.raises(LedgerRejected, match="too long"):
        write(65)
    ledger.close()


def test_keys_are_stored_in_no_text(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PROXY_KEY", "plain-canary-0123")
    ledger = opened(url)
    with ledger.write() as tx:
        events.add(tx, RUN, "refused: the key plain-canary-0123 is wrong")
    with ledger.read() as tx:
        assert [row["text"] for row in events.of_run(tx, RUN)] == ["refused: the key *** is wrong"]
    ledger.close()


def test_two_processes_exclude_each_other_from_a_run_over_one_ledger(url: str, tmp_path: Path) -> None:
    first, second = opened(url), Ledger.open(url)
    with run_lock(first, tmp_path / "one", RUN):
        with run_lock(second, tmp_path / "two", "another-run"):
            pass
        with (
            pytest.raises(AlreadyLocked, match="another process is working on"),
            run_lock(second, tmp_path / "two", RUN),
        ):
            raise AssertionError
    with run_lock(second, tmp_path / "two", RUN):
        pass
    first.close()
    second.close()


def test_a_run_outlives_the_connection_that_holds_its_lock(postgres_service: PostgresServer, tmp_path: Path) -> None:
    ledger = opened(postgres_service.ledger())
    name = ledger.engine.url.database
    with run_lock(ledger, tmp_path, RUN):
        postgres_service.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with ledger.read() as tx:
            assert runs.get(tx, RUN) is not None
    with run_lock(ledger, tmp_path, RUN):
        pass
    ledger.close()


def test_a_write_waits_for_another_program_that_holds_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.LOCK_WAIT_S > 60, "a backup of a large ledger holds it for a minute"
    ledger = opened(tmp_path)
    held = sqlite3.connect(tmp_path / "ledger.sqlite", check_same_thread=False, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    free = threading.Timer(1.0, held.execute, ("ROLLBACK",))
    free.start()
    with ledger.write() as tx:
        events.add(tx, RUN, "written after the wait")
    free.join()
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0)
    impatient = Ledger.in_folder(tmp_path)
    held.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerFailed, match=r"database is locked: everything done so far is kept"), impatient.write():
        raise AssertionError
    for opened_ in (ledger, impatient, held):
        opened_.close()


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_done(tmp_path: Path) -> None:
    ledger = opened(tmp_path, jobs_=1)
    sa.event.listen(ledger.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    with (
        pytest.raises(AutointerpError, match=r"database or disk is full: everything done") as stopped,
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

    with pytest.raises(LedgerRejected):
        finish_and_fail()
    with ledger.read() as tx:
        assert jobs.counts(tx, RUN) == {"score": {"pending": 1}}


def test_writes_together_are_committed_together_and_one_that_fails_spoils_no_other(url: str) -> None:
    ledger, other = opened(url, jobs_=4), Ledger.open(url)

    def states(of: Ledger) -> Counter[str]:
        with of.read() as tx:
            return Counter(jobs.counts(tx, RUN)["score"])

    with ledger.together():
        for number in (0, 1):
            with ledger.write() as tx:
                jobs.finish(tx, RUN, f"job-{number}")
        with suppress(LedgerRejected), ledger.write() as tx:
            jobs.finish(tx, RUN, "job-2")
            tx.execute(sa.insert(schema.jobs).values(run_id=RUN, job_key="job-0"))
        assert states(ledger) == {"done": 2, "pending": 2}
        assert states(other) == {"pending": 4}
    assert states(other) == {"done": 2, "pending": 2}
    with suppress(KeyboardInterrupt), ledger.together():
        with ledger.write() as tx:
            jobs.finish(tx, RUN, "job-3")
        raise KeyboardInterrupt
    assert states(ledger) == states(other) == {"done": 2, "pending": 2}
    for each in (ledger, other):
        each.close()


def test_no_job_is_leased_by_two_threads(url: str) -> None:
    """Threads of one ledger and of others on the same database, as other processes would be."""
    ledgers = [opened(url, jobs_=300), Ledger.open(url), Ledger.open(url)]

    def drain(ledger: Ledger, most: int) -> list[str]:
        held: list[str] = []
        while True:
            with ledger.write() as tx:
                leased = leases.lease(tx, RUN, "score", most=most, owner="me")
            if not leased:
                return held
            held += [job.job_key for job in leased]

    held = run_concurrently([lambda i=i: drain(ledgers[i % 3], 1 + i) for i in range(9)])  # type: ignore[misc]
    assert Counter(key for keys in held for key in keys) == {f"job-{i}": 1 for i in range(300)}
    for ledger in ledgers:
        ledger.close()


STEPS = ["lease", "finish", "postpone", "put_back", "fault", "release", "release_of"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5), st.sampled_from("ab")), max_size=25))
def test_a_job_has_one_owner_until_it_is_released(steps: list[tuple[str, int, str]]) -> None:
    """Against a model: pending jobs, held ones with their owner, waiting ones that are due or not, and done ones."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger = opened(Path(folder), jobs_=6)
        pending, due, later, done = list(range(6)), set[int](), set[int](), set[int]()
        held: dict[int, str] = {}
        for step, number, owner in steps:
            mine = held.get(number) == owner
            with ledger.write() as tx:
                job = Job(f"job-{number}", "score")
                if step == "lease":
                    first = sorted(pending)[:number]
                    then = sorted(due)[: number - len(first)]
                    leased = leases.lease(tx, RUN, "score", most=number, owner=owner)
                    assert [job.place for job in leased] == first + then
                    held |= dict.fromkeys(first + then, owner)
                    pending, due = [n for n in pending if n not in held], due - set(held)
                elif step == "finish" and mine:
                    jobs.finish(tx, RUN, job.job_key)
                    done.add(number)
                elif step == "postpone":
                    leases.postpone(tx, RUN, job, owner=owner, seconds=-1.0, error="busy")
                    due |= {number} if mine else set()
                elif step == "fault":
                    leases.fail_attempt(tx, RUN, job, owner=owner, error="a bug", seconds=1000.0)
                    later |= {number} if mine else set()
                elif step == "put_back":
                    leases.put_back(tx, RUN, [job.job_key], owner)
                    pending += [number] if mine else []
                elif step == "release":
                    leases.release(tx, RUN)
                    pending += [*held, *due, *later]
                    held, due, later = {}, set(), set()
                elif step == "release_of":
                    freed = [n for n, by in held.items() if by == owner]
                    assert leases.release_worker(tx, owner) == len(freed)
                    pending += freed
                    held = {n: by for n, by in held.items() if by != owner}
                if mine and step in ("finish", "postpone", "fault", "put_back"):
                    del held[number]
                sizes = {"pending": len(pending), "leased": len(held), "waiting": len(due | later), "done": len(done)}
                assert jobs.counts(tx, RUN) == {"score": {state: n for state, n in sizes.items() if n}}
                assert (jobs.next_due(tx, RUN, "score") is None) == (not due | later)
                assert jobs.count_due(tx, RUN, "score", 100) == len(pending) + len(due)
        ledger.close()


def test_reservations_add_up_to_the_limit_under_32_threads(url: str) -> None:
    ledgers = [opened(url), Ledger.open(url)]

    def take(ledger: Ledger) -> int:
        taken = 0
        for _ in range(4):
            with suppress(BudgetShortfall), ledger.write() as tx:
                budgets.reserve(tx, RUN, 0.125, Limits(10.0))
                taken += 1
        return taken

    assert sum(run_concurrently([lambda i=i: take(ledgers[i % 2]) for i in range(32)])) == 80  # type: ignore[misc]
    assert money(ledgers[0]) == (0.0, 10.0, 0.0)
    for ledger in ledgers:
        ledger.close()


def test_a_reservation_becomes_spent_or_lost(url: str) -> None:
    ledger, limits = opened(url), Limits(1.0)

    def refused(usd: float) -> BudgetShortfall:
        with pytest.raises(BudgetShortfall) as short, ledger.write() as tx:
            budgets.reserve(tx, RUN, usd, limits)
        return short.value

    with ledger.write() as tx:
        budgets.reserve(tx, RUN, 0.5, limits)
        budgets.reserve(tx, RUN, 0.5, limits)
    assert refused(0.25).may_recover
    with ledger.write() as tx:
        known, unknown = begin(tx, 0.5, "one"), begin(tx, 0.5, "two")
        end(tx, known, 0.125, 0.5)
        end(tx, unknown, None, 0.5)
    assert money(ledger) == (0.125, 0.0, 0.5)
    short = refused(0.5)
    assert not short.may_recover, "what is lost counts"
    assert (short.scope, short.spent, short.lost) == (f"run {RUN}", 0.125, 0.5)
    with ledger.write() as tx:
        budgets.reserve(tx, RUN, 0.375, limits)
    ledger.close()


def test_calls_open_at_a_kill_are_lost_at_their_upper_bound(url: str) -> None:
    ledger = opened(url)
    with ledger.write() as tx:
        for number in range(3):
            budgets.reserve(tx, RUN, 0.25, Limits())
            last = begin(tx, 0.25, f"key-{number}")
        end(tx, last, 0.125, 0.25)
    with ledger.write() as tx:
        assert calls.write_off(tx, RUN) == 2
        assert calls.write_off(tx, RUN) == 0
        assert calls.totals(tx, RUN)["lost_calls"] == 2
    assert money(ledger) == (0.125, 0.0, 0.5)
    ledger.close()


def test_withdrawing_an_explanation_withdraws_its_judgements(url: str) -> None:
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        planned = [Job(f"explain-{unit}", "explain", unit) for unit in "ab"]
        planned += [
            Job(f"score-{unit}-{by}", "score", unit, f"x-{unit}", "main", 0, by) for unit in "ab" for by in "ab"
        ]
        jobs.plan(tx, RUN, planned)
        for unit in "ab":
            judgements.add_explanation(
                tx, RUN, Explanation(ExplanationKey(unit), Outcome.PROVIDER_ERROR, "", "down", None)
            )
        for job in planned:
            jobs.finish(tx, RUN, job.job_key)
            if job.stage == "score":
                judged = Judgement(job.exemplar_id, job.unit_id, Arm.MAIN, 0, Outcome.NO_EXPLANATION, None, "", None)
                judgements.add_judgement(tx, RUN, job.job_key, ExplanationKey.parse(job.explanation_unit_id), judged)
        judgements.withdraw(tx, RUN, ["explain-a"])
    with ledger.read() as tx:
        assert set(judgements.explanations_of(tx, RUN)) == {ExplanationKey("b")}
        assert {row["job_key"] for row in judgements.judgement_rows(tx, RUN)} == {"score-a-b", "score-b-b"}
        assert jobs.counts(tx, RUN) == {"explain": {"done": 1, "pending": 1}, "score": {"done": 2}}, "planned anew"
    ledger.close()
