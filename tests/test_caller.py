"""One judge asked from many threads: what is asked twice, what hangs, what is never closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autointerp import rubric, score
from autointerp.caller import Caller, Postponed
from autointerp.errors import AutointerpError, ProviderStopped
from autointerp.judges import retry
from autointerp.judges.base import ItemFailed, MarkedText, MustWait, Prompt, Reply, ScoreMaterial, Usage
from autointerp.judges.limits import Aborted
from autointerp.ledger import Ledger, calls, runs
from autointerp.ledger.schema import calls as call_rows
from autointerp.records import Outcome
from autointerp.spec import Judge as JudgeSettings

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


def question(text: str = "cat") -> Prompt:
    return Prompt("system", text, {}, 100, ScoreMaterial("cats", MarkedText((text,), 0)))


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Caller, Asked]]:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.0)
    ledger = Ledger.in_folder(tmp_path)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")

    def build(say: Callable[[int], Reply], **settings: Any) -> tuple[Caller, Asked]:
        judge = Asked(say)
        return Caller(ledger, RUN, judge, JudgeSettings(model=MODEL, **settings), 100.0), judge

    return build


def rows(caller: Caller) -> list[sa.RowMapping]:
    with caller.ledger.read() as tx:
        return list(tx.execute(sa.select(call_rows).order_by(call_rows.c.call_id)).mappings())


def test_an_error_nobody_foresaw_leaves_no_call_open(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def broken(number: int) -> Reply:
        raise TypeError("a bug\nof ours")

    caller, _ = asking(broken)
    with pytest.raises(AutointerpError, match="nobody foresaw: TypeError: a bug") as stopped:
        caller.ask(question(), str, job_key="job", repeat=0)
    assert isinstance(stopped.value.__cause__, TypeError)
    [row] = rows(caller)
    assert row["state"] == calls.LOST
    with caller.ledger.read() as tx:
        run = runs.get(tx, RUN)
    assert run is not None
    assert (run["reserved_usd"], run["spent_usd"]) == (0.0, 0.0)
    assert run["lost_usd"] == pytest.approx(row["reserved_usd"])
    assert run["lost_usd"] > 0


def test_the_same_question_at_the_same_time_is_asked_once(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def slow(number: int) -> Reply:
        time.sleep(0.05)
        return said(f"answer {number}")

    caller, judge = asking(slow)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(caller.ask, question(), str, job_key=f"job-{i}", repeat=0) for i in range(8)]
        other = pool.submit(caller.ask, question(), str, job_key="job", repeat=1)
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
    assert caller.ask(question(), str, job_key="a", repeat=0).outcome is Outcome.PROVIDER_ERROR
    assert caller.ask(question(), str, job_key="b", repeat=0).value == "yes"
    assert caller.ask(question(), str, job_key="c", repeat=0).value == "yes"
    assert judge.times == 2


@pytest.mark.parametrize("text", ["half an emoji \ud83d", "null \0 character"])
def test_any_text_can_be_written_down(text: str, asking: Callable[..., tuple[Caller, Asked]]) -> None:
    caller, _ = asking(lambda number: said(text))
    answer = caller.ask(question(), str, job_key="a", repeat=0)
    [row] = rows(caller)
    assert answer.value == row["reply"]
    assert row["reply"].isprintable()
    assert caller.ask(question(), str, job_key="b", repeat=0).value == answer.value


@pytest.mark.parametrize("text", ['{"grade": ' + "9" * 5000 + "}", '{"a":' * 100_000, "{" * 100_000])
def test_a_reply_that_python_cannot_read_is_unscored(text: str, asking: Callable[..., tuple[Caller, Asked]]) -> None:
    caller, _ = asking(lambda number: said(text))
    answer = caller.ask(question(), lambda reply: score.parse(rubric.load("specificity"), reply), job_key="a", repeat=0)
    assert answer.outcome is Outcome.PARSE_FAILURE
    assert [row["state"] for row in rows(caller)] == [Outcome.PARSE_FAILURE]


def test_stopping_wakes_all_who_wait(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    """One waits for the provider, one for its turn behind it, one for the answer to the same question."""

    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=29.0)

    caller, judge = asking(busy)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(caller.ask, question(text), str, job_key="j", repeat=0) for text in ("a", "a", "b", "c")]
        while not judge.times:
            time.sleep(0.001)
        caller.abort()
        errors = [future.exception(timeout=20) for future in futures]
    assert {type(error) for error in errors} == {Aborted}


def test_a_pause_is_postponed_and_one_too_long_stops_the_run(asking: Callable[..., tuple[Caller, Asked]]) -> None:
    def busy(number: int) -> Reply:
        raise MustWait("busy", retry_after_s=60.0 if number == 0 else 3600.0)

    caller, judge = asking(busy)
    before = time.time()
    with pytest.raises(Postponed) as postponed:
        caller.ask(question(), str, job_key="a", repeat=0)
    assert before + 60 <= postponed.value.not_before <= time.time() + 60
    caller.fresh()
    with pytest.raises(ProviderStopped, match=r"longer than judge\.max_wait_s = 900 allows"):
        caller.ask(question(), str, job_key="a", repeat=0)
    assert judge.times == 2
