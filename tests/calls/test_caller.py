"""One judge asked from many threads: questions are asked once, threads wake up, and every call is closed."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.providers.mutations import PROTOCOLS, mutated_bodies

from autointerp.calls import caller as caller_
from autointerp.calls.answers import Answer, call_key
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import AutointerpError, LedgerFailed, ProviderStopped
from autointerp.judges import prices, retry
from autointerp.judges.base import ItemFailed, JudgeError, MustWait
from autointerp.judges.limits.limiter import Aborted, LocalLimiter
from autointerp.judges.providers import http
from autointerp.judges.providers.anthropic import read_message
from autointerp.judges.providers.openai import read_response
from autointerp.judges.providers.openai_compatible import read_completion
from autointerp.ledger import budgets, calls, runs
from autointerp.ledger.budgets import Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.prompts import single_grade
from autointerp.records import Outcome
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODEL = "anthropic/claude-haiku-4-5"
RUN = "run-0"
FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000"))
"""Mutated replies of a slow test; `make fuzz` asks for 10,000."""


class ScriptedLLM:
    """A judge that counts as an LLM; `say` answers the n-th question."""

    name = MODEL
    is_llm = True

    def __init__(self, say: Callable[[int], Reply]) -> None:
        self.say, self.times, self._lock = say, 0, threading.Lock()

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.name}

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        pass

    def ask(self, prompt: Prompt) -> Reply:
        with self._lock:
            number, self.times = self.times, self.times + 1
        return self.say(number)


OpenCaller = Callable[..., tuple[Caller, ScriptedLLM]]
"""Opens a caller and its judge, which answers by a function; further arguments are settings of the judge."""


def reply_of(text: str) -> Reply:
    return Reply(text, "complete", Usage(10, 10), MODEL)


def job(key: str) -> Job:
    return Job(key, "score")


def question(text: str = "cat") -> Prompt:
    return Prompt("system", text, {}, 100, ScoreMaterial("cats", MarkedText((text,), 0)))


@pytest.fixture(params=["sqlite", "postgresql"])
def open_caller(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenCaller]:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.0)
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_service").ledger()
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")

    def build(say: Callable[[int], Reply], **settings: Any) -> tuple[Caller, ScriptedLLM]:
        judge = ScriptedLLM(say)
        return Caller(ledger, RUN, judge, JudgeSettings(model=MODEL, **settings), Limits(100.0)), judge

    yield build
    ledger.close()


_NUMBERS = itertools.count()
READ = {"anthropic": read_message, "responses": read_response, "chat": read_completion}


def money(caller: Caller) -> dict[str, float]:
    with caller.ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    return {name: row[name] for name in ("spent_usd", "lost_usd", "reserved_usd")}


def rows(caller: Caller) -> list[sa.RowMapping]:
    with caller.ledger.read() as tx:
        return list(tx.execute(sa.select(call_rows).order_by(call_rows.c.call_id)).mappings())


def test_an_unexpected_error_leaves_no_call_open(open_caller: OpenCaller) -> None:
    def broken(number: int) -> Reply:
        raise TypeError("a bug\nof ours")

    caller, _ = open_caller(broken)
    with pytest.raises(AutointerpError, match="raised an unexpected error: TypeError: a bug") as stopped:
        caller.ask(question(), str, job("job"), 0)
    assert isinstance(stopped.value.__cause__, TypeError)
    [row] = rows(caller)
    assert row["state"] == calls.LOST
    with caller.ledger.read() as tx:
        run = runs.get(tx, RUN)
    assert run is not None
    assert (run["reserved_usd"], run["spent_usd"]) == (0.0, 0.0)
    assert run["lost_usd"] == pytest.approx(row["reserved_usd"])
    assert run["lost_usd"] > 0


@pytest.mark.parametrize("open_caller", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [("40P01", "deadlock detected"), ("XX000", "new multixact has more than one updating member")],
)
def test_a_transaction_that_the_server_rolled_back_is_repeated(
    sqlstate: str, message: str, open_caller: OpenCaller
) -> None:
    caller, judge = open_caller(lambda number: reply_of("answer"))
    with caller.ledger.write() as tx:
        for statement in (
            "CREATE SEQUENCE met",  # not set back by a rollback
            "CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('met') IN (1, 3) THEN RAISE"
            f" EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$",
            "CREATE TRIGGER meeting BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION meet()",
        ):
            tx.exec_driver_sql(statement)
    assert caller.ask(question(), str, job("job"), 0).value is not None
    assert judge.times == 1
    [row] = rows(caller)
    assert row["state"] == calls.SCORED
    with caller.ledger.read() as tx:
        run = runs.get(tx, RUN)
        assert tx.exec_driver_sql("SELECT last_value FROM met").scalar() == 4, (
            "one rollback at the beginning of the call, one at its end"
        )
    assert run is not None
    assert (run["reserved_usd"], run["spent_usd"]) == (0.0, pytest.approx(row["cost_usd"]))


def test_instructions_whose_commit_failed_are_stored_by_the_next_question(
    open_caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, judge = open_caller(lambda number: reply_of("2"))
    write = caller.ledger.write

    @contextmanager
    def lose() -> Iterator[sa.Connection]:
        with write() as tx:
            yield tx
            raise OSError("the connection was lost")

    monkeypatch.setattr(caller.ledger, "write", lose)
    with pytest.raises(OSError, match="lost"):
        caller.ask(question(), str, job("job"), 0)
    monkeypatch.setattr(caller.ledger, "write", write)
    assert caller.ask(question(), str, job("job"), 0).value == "2"
    assert judge.times == 1


def test_the_same_question_at_the_same_time_is_asked_once(open_caller: OpenCaller) -> None:
    def slow(number: int) -> Reply:
        time.sleep(0.05)
        return reply_of(f"answer {number}")

    caller, judge = open_caller(slow)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(caller.ask, question(), str, job(f"job-{i}"), 0) for i in range(8)]
        other = pool.submit(caller.ask, question(), str, job("job"), 1)
    answers = [future.result() for future in futures]
    assert judge.times == 2, "a repeat is a question of its own"
    assert len({answer.value for answer in answers}) == 1
    assert other.result().value != answers[0].value


def test_the_same_question_is_asked_again_after_a_failure(open_caller: OpenCaller) -> None:
    def first_fails(number: int) -> Reply:
        if number == 0:
            raise ItemFailed("odd")
        return reply_of("yes")

    caller, judge = open_caller(first_fails)
    assert caller.ask(question(), str, job("a"), 0).outcome is Outcome.PROVIDER_ERROR
    assert caller.ask(question(), str, job("b"), 0).value == "yes"
    assert caller.ask(question(), str, job("c"), 0).value == "yes"
    assert judge.times == 2


@pytest.mark.parametrize("text", ["half an emoji \ud83d", "null \0 character"])
def test_a_reply_of_any_characters_can_be_stored(text: str, open_caller: OpenCaller) -> None:
    caller, _ = open_caller(lambda number: reply_of(text))
    answer = caller.ask(question(), str, job("a"), 0)
    [row] = rows(caller)
    assert answer.value == row["reply"]
    assert row["reply"].isprintable()
    assert caller.ask(question(), str, job("b"), 0).value == answer.value


@pytest.mark.parametrize(
    "reply",
    [
        Reply("2", "complete", Usage(10, 10), "m" * 400),
        Reply("2", "complete", Usage(10, 10), "m\0"),
        Reply("2", "complete", Usage(10, 10), "m\ud83d"),
        Reply("2", "complete", Usage(10, 10), MODEL, "r" * 400),
        Reply("2", "complete", Usage(10, 10), MODEL, "r\0\ud83d"),
        Reply("2", "complete", Usage(3_000_000_000, 10), MODEL),
        Reply("2", "complete", Usage(10, 10**30), MODEL),
    ],
    ids=["long model", "null", "half a character", "long id", "odd id", "over 32 bits", "over 64 bits"],
)
def test_a_reply_that_cannot_be_stored_leaves_no_call_open_and_at_worst_its_item_unscored(
    reply: Reply, open_caller: OpenCaller
) -> None:
    caller, _ = open_caller(lambda number: reply if number == 0 else reply_of("3"))
    caller.limits = Limits()
    stored: list[Answer[str]] = []
    answer = caller.ask(question(), str, job("a"), 0, lambda tx, answer: stored.append(answer))
    assert stored[-1] == answer
    assert answer.value == "2" or (answer.outcome, answer.reason[:30]) == (
        Outcome.PROVIDER_ERROR,
        "the answer could not be stored",
    )
    [row] = rows(caller)
    assert row["state"] == (calls.SCORED if answer.value else calls.LOST)
    assert caller.ask(question("another"), str, job("b"), 0).value == "3"
    with caller.ledger.read() as tx:
        run = runs.get(tx, RUN)
    assert run is not None
    assert run["reserved_usd"] == 0.0
    assert run["spent_usd"] + run["lost_usd"] > 0.0


def _answer_mutated(open_caller: OpenCaller, protocol: str, data: st.DataObject) -> None:
    """Ask a question that is answered by a mutated reply, and compare the books with the attempts."""
    body = json.dumps(data.draw(mutated_bodies(protocol))).encode()
    attempts: list[Reply | JudgeError] = []

    def say(number: int) -> Reply:
        parsed = http.parse(protocol, body)
        attempts.append(parsed if isinstance(parsed, JudgeError) else READ[protocol](parsed, {}))
        if isinstance(attempts[-1], JudgeError):
            raise attempts[-1]
        return attempts[-1]

    caller, _ = open_caller(say)
    caller.limits = Limits()
    key, before = f"question {next(_NUMBERS)}", money(caller)
    with suppress(Postponed, ProviderStopped):
        caller.ask(question(key), lambda text: single_grade.parse(rubric.load("specificity"), text), job(key), 0)
    with caller.ledger.read() as tx:
        asked = sa.select(call_rows).where(call_rows.c.call_key == call_key(caller.judge, question(key), 0))
        new = list(tx.execute(asked.order_by(call_rows.c.call_id)).mappings())
    assert len(new) == len(attempts)
    assert not [row for row in new if row["state"] == calls.OPEN]
    spent = sum(prices.cost(a.usage, caller.price) or 0.0 for a in attempts if a.usage)
    lost = sum(row["reserved_usd"] for row, a in zip(new, attempts, strict=True) if a.usage and not a.usage.known)
    after = money(caller)
    assert after["spent_usd"] - before["spent_usd"] == pytest.approx(spent, abs=1e-6)
    assert after["lost_usd"] - before["lost_usd"] == pytest.approx(lost, abs=1e-6)
    assert after["reserved_usd"] == pytest.approx(0.0, abs=1e-6)


@pytest.fixture
def never_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalLimiter, "sleep", lambda self, seconds: None)


@pytest.mark.usefixtures("never_waiting")
@pytest.mark.parametrize("open_caller", ["sqlite"], indirect=True)
def test_a_question_that_is_always_refused_while_others_are_answered_pauses_nobody_for_long_and_ends_unscored(
    open_caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(LocalLimiter, "pause", lambda self, seconds: pauses.append(seconds))

    def busy(number: int) -> Reply:
        if refused:
            raise MustWait("429: busy", retry_after_s=0.1)
        return reply_of("2")

    caller, judge = open_caller(busy)
    refused, rounds, answer = True, 0, None
    while answer is None:
        with suppress(Postponed):
            answer = caller.ask(question("never"), str, job("never"), 0)
        rounds, refused = rounds + 1, False
        caller.ask(question(f"other {rounds}"), str, job(f"other {rounds}"), 0)
        refused = True
    assert (answer.outcome, rounds) == (Outcome.PROVIDER_ERROR, 3)
    assert "12 attempts, while other questions were answered" in answer.reason
    assert judge.times == 12 + rounds
    assert len(pauses) < 10, "the later rounds concern this question alone"


@pytest.mark.usefixtures("never_waiting")
@pytest.mark.parametrize("open_caller", ["sqlite"], indirect=True)
def test_the_last_question_of_a_run_ends_unscored_where_a_pause_would_stop_the_run(open_caller: OpenCaller) -> None:
    def busy(number: int) -> Reply:
        if number:
            raise MustWait("429: busy", retry_after_s=3600.0)
        return reply_of("2")

    caller, _ = open_caller(busy)
    assert caller.ask(question("other"), str, job("other"), 0).value == "2"
    answer = caller.ask(question("last"), str, job("last"), 0)
    assert answer.outcome is Outcome.PROVIDER_ERROR
    assert "as one of the last questions" in answer.reason


@pytest.mark.usefixtures("never_waiting")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_a_mutated_reply_no_call_is_open_and_the_books_are_equal(
    protocol: str, open_caller: OpenCaller, data: st.DataObject
) -> None:
    _answer_mutated(open_caller, protocol, data)


@pytest.mark.slow
@pytest.mark.usefixtures("never_waiting")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=FUZZ_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_many_mutated_replies_no_call_is_open_and_the_books_are_equal(
    protocol: str, open_caller: OpenCaller, data: st.DataObject
) -> None:
    _answer_mutated(open_caller, protocol, data)


def test_a_result_that_the_database_refuses_is_unscored_and_its_paid_answer_kept(open_caller: OpenCaller) -> None:
    def store(tx: sa.Connection, answer: Answer[str]) -> None:
        if answer.value is not None:
            tx.execute(sa.update(call_rows).values(input_tokens=10**30))

    caller, judge = open_caller(lambda number: reply_of("2"))
    for key in ("a", "b"):  # the second finds the answer in the ledger
        answer = caller.ask(question(), str, job(key), 0, store)
        assert answer.value == "2" or answer.outcome is Outcome.PROVIDER_ERROR
    assert judge.times == 1
    [row] = rows(caller)
    assert (row["state"], row["reply"]) == (calls.SCORED, "2")


def test_an_answer_that_a_full_disk_refused_is_tried_once_more_and_no_further_call_is_admitted(
    open_caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    asked_while_full: list[object] = []
    caller, judge = open_caller(lambda number: (full.set(), reply_of("2"))[1])
    write = caller.ledger.write_with_retry

    def failing(work: Callable[[sa.Connection], None]) -> None:
        if full.is_set():
            raise LedgerFailed("database or disk is full")
        write(work)

    def free(seconds: float) -> None:
        with pytest.raises(LedgerFailed, match="disk is full"):
            asked_while_full.append(caller.ask(question("another"), str, job("b"), 0))
        full.clear()

    monkeypatch.setattr(caller.ledger, "write_with_retry", failing)
    monkeypatch.setattr(caller_.time, "sleep", free)
    assert caller.ask(question(), str, job("a"), 0).value == "2"
    assert (judge.times, asked_while_full) == (1, [])
    assert [row["state"] for row in rows(caller)] == [calls.SCORED]


@pytest.mark.parametrize("text", ['{"grade": ' + "9" * 5000 + "}", '{"a":' * 100_000, "{" * 100_000])
def test_a_reply_that_python_cannot_read_is_unscored(text: str, open_caller: OpenCaller) -> None:
    caller, _ = open_caller(lambda number: reply_of(text))
    answer = caller.ask(question(), lambda reply: single_grade.parse(rubric.load("specificity"), reply), job("a"), 0)
    assert answer.outcome is Outcome.PARSE_FAILURE
    assert [row["state"] for row in rows(caller)] == [Outcome.PARSE_FAILURE]


def test_abort_wakes_every_waiting_thread(open_caller: OpenCaller) -> None:
    """One waits for the provider, one in the queue behind it, one for the answer to the same question."""

    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=29.0)

    caller, judge = open_caller(busy)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(caller.ask, question(text), str, job("j"), 0) for text in ("a", "a", "b", "c")]
        while not judge.times:
            time.sleep(0.001)
        caller.abort()
        errors = [future.exception(timeout=20) for future in futures]
    assert {type(error) for error in errors} == {Aborted}


def test_a_pause_is_postponed_and_one_too_long_stops_the_run(open_caller: OpenCaller) -> None:
    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=60.0 if number == 0 else 3600.0)

    caller, judge = open_caller(busy)
    with pytest.raises(Postponed) as postponed:
        caller.ask(question(), str, job("a"), 0)
    assert postponed.value.seconds == 60.0
    with pytest.raises(Postponed) as held:
        caller.ask(question("another"), str, job("b"), 0)
    assert 30.0 < held.value.seconds <= 60.0, "all callers that share the limiter wait"
    caller.limiter = LocalLimiter.of(JudgeSettings(model=MODEL))
    with pytest.raises(ProviderStopped, match=r"longer than judge\.max_wait_s = 900 allows"):
        caller.ask(question(), str, job("a"), 0)
    assert judge.times == 2


def test_a_question_that_another_worker_is_asking_is_postponed_until_it_has_an_answer(
    open_caller: OpenCaller,
) -> None:
    caller, judge = open_caller(lambda number: reply_of("mine"))
    key = call_key(judge, question(), 0)
    with caller.ledger.write() as tx:
        other = calls.begin(tx, calls.NewCall(RUN, "job", key, MODEL, 0.0, "another"), question())
    assert other is not None
    with pytest.raises(Postponed, match="another worker is asking the same"):
        caller.ask(question(), str, job("a"), 0)
    with caller.ledger.write() as tx:
        calls.end(
            tx, other, run_id=RUN, state=calls.SCORED, reason="", reply=reply_of("theirs"), usage=Usage(), cost_usd=0.0,
            reserved_usd=0.0, duration_s=0.0,
        )  # fmt: skip
    assert caller.ask(question(), str, job("a"), 0).value == "theirs"
    assert judge.times == 0
    with caller.ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    assert row["reserved_usd"] == 0.0


@pytest.mark.parametrize("state", ["stopped", "cancelled", "queued"])
def test_no_question_is_asked_for_a_run_that_is_not_running(state: str, open_caller: OpenCaller) -> None:
    caller, judge = open_caller(lambda number: reply_of("yes"))
    with caller.ledger.write() as tx:
        runs.set_state(tx, RUN, state)
    with pytest.raises(NotRunning, match=state):
        caller.ask(question(), str, job("a"), 0)
    assert (judge.times, rows(caller)) == (0, [])


def test_an_item_is_postponed_if_the_budget_stays_reserved_by_other_calls(
    open_caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may reserve it for a day. Meanwhile neither a thread nor a place in the limiter is occupied."""
    monkeypatch.setattr(caller_, "BUDGET_PATIENCE_S", 0.0)
    monkeypatch.setattr(caller_, "BUDGET_POLL_S", 0.0)
    caller, _ = open_caller(lambda number: reply_of("yes"), concurrency=1)
    with caller.ledger.write() as tx:
        budgets.reserve(tx, RUN, 100.0, Limits(100.0))
    for _ in range(2):
        with pytest.raises(Postponed, match="the budget of run run-0 is reserved by calls in flight"):
            caller.ask(question(), str, job("a"), 0)
    with caller.ledger.write() as tx:
        budgets.settle(tx, RUN, 100.0, 0.0)
    assert caller.ask(question(), str, job("a"), 0).value == "yes"


def test_a_caller_frees_its_place_in_the_limiter_if_an_answer_cannot_be_stored(
    open_caller: OpenCaller,
) -> None:
    def broken(tx: sa.Connection, answer: Answer[str]) -> None:
        raise AutointerpError("the disk is full")

    caller, _ = open_caller(lambda number: reply_of("yes"), concurrency=1)
    for text in ("a", "b"):
        with pytest.raises(AutointerpError, match="disk is full"):
            caller.ask(question(text), str, job(text), 0, broken)
    assert caller.ask(question("c"), str, job("c"), 0).value == "yes"
