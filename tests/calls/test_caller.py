"""One judge asked from many threads: what is asked twice, what hangs, what is never closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autointerp.calls import caller as caller_
from autointerp.calls.answers import Answer, call_key
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import AutointerpError, ProviderStopped
from autointerp.judges import retry
from autointerp.judges.base import ItemFailed, MustWait
from autointerp.judges.limits.limiter import Aborted, LocalLimiter
from autointerp.ledger import budgets, calls, runs
from autointerp.ledger.budgets import Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.prompts import single_grade
from autointerp.records import Outcome
from autointerp.spec import rubric
from autointerp.spec.sections import Judge as JudgeSettings

MODEL = "anthropic/claude-haiku-4-5"
RUN = "run-0"


class Asked:
    """An LLM as far as the caller can tell; `say` answers the n-th question."""

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


def said(text: str) -> Reply:
    return Reply(text, "complete", Usage(10, 10), MODEL)


def job(key: str) -> Job:
    return Job(key, "score")


def question(text: str = "cat") -> Prompt:
    return Prompt("system", text, {}, 100, ScoreMaterial("cats", MarkedText((text,), 0)))


@pytest.fixture(params=["sqlite", "postgresql"])
def asking(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Caller, Asked]]]:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.0)
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_service").database()
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")

    def build(say: Callable[[int], Reply], **settings: Any) -> tuple[Caller, Asked]:
        judge = Asked(say)
        return Caller(ledger, RUN, judge, JudgeSettings(model=MODEL, **settings), Limits(100.0)), judge

    yield build
    ledger.close()


def rows(caller: Caller) -> list[sa.RowMapping]:
    with caller.ledger.read() as tx:
        return list(tx.execute(sa.select(call_rows).order_by(call_rows.c.call_id)).mappings())


def test_an_error_nobody_foresaw_leaves_no_call_open(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def broken(number: int) -> Reply:
        raise TypeError("a bug\nof ours")

    caller, _ = asking(broken)
    with pytest.raises(AutointerpError, match="nobody foresaw: TypeError: a bug") as stopped:
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


@pytest.mark.parametrize("asking", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [("40P01", "deadlock detected"), ("XX000", "new multixact has more than one updating member")],
)
def test_a_transaction_that_the_server_undid_is_done_again(
    sqlstate: str, message: str, asking: Callable[..., tuple[Caller, Asked]]
) -> None:
    caller, judge = asking(lambda number: said("answer"))
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
        assert tx.exec_driver_sql("SELECT last_value FROM met").scalar() == 4, "one undone as it began, one as it ended"
    assert run is not None
    assert (run["reserved_usd"], run["spent_usd"]) == (0.0, pytest.approx(row["cost_usd"]))


def test_the_same_question_at_the_same_time_is_asked_once(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def slow(number: int) -> Reply:
        time.sleep(0.05)
        return said(f"answer {number}")

    caller, judge = asking(slow)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(caller.ask, question(), str, job(f"job-{i}"), 0) for i in range(8)]
        other = pool.submit(caller.ask, question(), str, job("job"), 1)
    answers = [future.result() for future in futures]
    assert judge.times == 2, "a repeat is a question of its own"
    assert len({answer.value for answer in answers}) == 1
    assert other.result().value != answers[0].value


def test_after_a_failure_the_next_with_the_same_question_asks_anew(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def first_fails(number: int) -> Reply:
        if number == 0:
            raise ItemFailed("odd")
        return said("yes")

    caller, judge = asking(first_fails)
    assert caller.ask(question(), str, job("a"), 0).outcome is Outcome.PROVIDER_ERROR
    assert caller.ask(question(), str, job("b"), 0).value == "yes"
    assert caller.ask(question(), str, job("c"), 0).value == "yes"
    assert judge.times == 2


@pytest.mark.parametrize("text", ["half an emoji \ud83d", "null \0 character"])
def test_any_text_can_be_written_down(text: str, asking: Callable[..., tuple[Caller, Asked]]) -> None:
    caller, _ = asking(lambda number: said(text))
    answer = caller.ask(question(), str, job("a"), 0)
    [row] = rows(caller)
    assert answer.value == row["reply"]
    assert row["reply"].isprintable()
    assert caller.ask(question(), str, job("b"), 0).value == answer.value


@pytest.mark.parametrize("text", ['{"grade": ' + "9" * 5000 + "}", '{"a":' * 100_000, "{" * 100_000])
def test_a_reply_that_python_cannot_read_is_unscored(text: str, asking: Callable[..., tuple[Caller, Asked]]) -> None:
    caller, _ = asking(lambda number: said(text))
    answer = caller.ask(question(), lambda reply: single_grade.parse(rubric.load("specificity"), reply), job("a"), 0)
    assert answer.outcome is Outcome.PARSE_FAILURE
    assert [row["state"] for row in rows(caller)] == [Outcome.PARSE_FAILURE]


def test_stopping_wakes_all_who_wait(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    """One waits for the provider, one for its turn behind it, one for the answer to the same question."""

    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=29.0)

    caller, judge = asking(busy)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(caller.ask, question(text), str, job("j"), 0) for text in ("a", "a", "b", "c")]
        while not judge.times:
            time.sleep(0.001)
        caller.abort()
        errors = [future.exception(timeout=20) for future in futures]
    assert {type(error) for error in errors} == {Aborted}


def test_a_pause_is_postponed_and_one_too_long_stops_the_run(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=60.0 if number == 0 else 3600.0)

    caller, judge = asking(busy)
    with pytest.raises(Postponed) as postponed:
        caller.ask(question(), str, job("a"), 0)
    assert postponed.value.seconds == 60.0
    with pytest.raises(Postponed) as held:
        caller.ask(question("another"), str, job("b"), 0)
    assert 30.0 < held.value.seconds <= 60.0, "everybody who shares the limiter waits"
    caller.limiter = LocalLimiter.of(JudgeSettings(model=MODEL))
    with pytest.raises(ProviderStopped, match=r"longer than judge\.max_wait_s = 900 allows"):
        caller.ask(question(), str, job("a"), 0)
    assert judge.times == 2


def test_a_question_that_another_worker_asks_is_postponed_and_its_answer_found(
    asking: Callable[..., tuple[Caller, Asked]],
) -> None:
    caller, judge = asking(lambda number: said("mine"))
    key = call_key(judge, question(), 0)
    with caller.ledger.write() as tx:
        other = calls.begin(tx, calls.Opening(RUN, "job", key, MODEL, 0.0, "another"), question())
    assert other is not None
    with pytest.raises(Postponed, match="another worker is asking the same"):
        caller.ask(question(), str, job("a"), 0)
    with caller.ledger.write() as tx:
        calls.end(
            tx, other, run_id=RUN, state=calls.SCORED, reason="", reply=said("theirs"), usage=Usage(), cost_usd=0.0,
            reserved_usd=0.0, duration_s=0.0,
        )  # fmt: skip
    assert caller.ask(question(), str, job("a"), 0).value == "theirs"
    assert judge.times == 0
    with caller.ledger.read() as tx:
        row = runs.get(tx, RUN)
    assert row is not None
    assert row["reserved_usd"] == 0.0


@pytest.mark.parametrize("state", ["stopped", "cancelled", "queued"])
def test_nothing_is_asked_for_a_run_that_does_not_run(state: str, asking: Callable[..., tuple[Caller, Asked]]) -> None:
    caller, judge = asking(lambda number: said("yes"))
    with caller.ledger.write() as tx:
        runs.set_state(tx, RUN, state)
    with pytest.raises(NotRunning, match=state):
        caller.ask(question(), str, job("a"), 0)
    assert (judge.times, rows(caller)) == (0, [])


def test_money_held_for_long_by_others_is_not_waited_for(
    asking: Callable[..., tuple[Caller, Asked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may hold it for a day: meanwhile neither a thread nor a place in the limiter is held."""
    monkeypatch.setattr(caller_, "MONEY_PATIENCE_S", 0.0)
    monkeypatch.setattr(caller_, "MONEY_WAIT_S", 0.0)
    caller, _ = asking(lambda number: said("yes"), concurrency=1)
    with caller.ledger.write() as tx:
        budgets.reserve(tx, RUN, 100.0, Limits(100.0))
    for _ in range(2):
        with pytest.raises(Postponed, match="the money of run run-0 is held by calls in flight"):
            caller.ask(question(), str, job("a"), 0)
    with caller.ledger.write() as tx:
        budgets.settle(tx, RUN, 100.0, 0.0)
    assert caller.ask(question(), str, job("a"), 0).value == "yes"


def test_a_caller_whose_books_cannot_be_kept_frees_its_place(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def broken(tx: sa.Connection, answer: Answer[str]) -> None:
        raise AutointerpError("the disk is full")

    caller, _ = asking(lambda number: said("yes"), concurrency=1)
    for text in ("a", "b"):
        with pytest.raises(AutointerpError, match="disk is full"):
            caller.ask(question(text), str, job(text), 0, broken)
    assert caller.ask(question("c"), str, job("c"), 0).value == "yes"
