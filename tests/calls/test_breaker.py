"""A run whose first replies are all unusable stops early, says why, and asks again once the cause is mended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autointerp.calls.breaker import FIRST_REPLIES
from autointerp.calls.caller import Caller
from autointerp.errors import ProviderStopped
from autointerp.judges import retry
from autointerp.judges.base import MayRetry
from autointerp.ledger import calls, jobs, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.sections import Judge as JudgeSettings

MODEL, RUN, N = "anthropic/claude-haiku-4-5", "run-0", 1000
USABLE = '{"reason": "r", "grade": 2}'


class Judge:
    """A judge whose `say` gives the stop reason and the text of the n-th reply, or raises."""

    name, is_llm = MODEL, True

    def __init__(self, say: Callable[[int], tuple[Any, str]]) -> None:
        self.say, self.times = say, 0

    def identity(self) -> Mapping[str, Any]:
        return {"model": self.name}

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        pass

    def ask(self, prompt: Prompt) -> Reply:
        number, self.times = self.times, self.times + 1
        stop, text = self.say(number)
        return Reply(text, stop, Usage(10, 10), MODEL)


def question(number: int) -> Prompt:
    return Prompt("system", f"question {number}", {}, 100, ScoreMaterial("cats", MarkedText(("cat",), 0)))


def job(number: int, scorer: str = "") -> Job:
    return Job(f"job-{scorer}{number}", "score", f"feature-{number}", place=number, scorer=scorer)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.0)
    opened = Ledger.in_folder(tmp_path)
    with opened.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        jobs.plan(tx, RUN, [job(number, scorer) for number in range(N) for scorer in ("", "detection")])
    return opened


def ask_all(ledger: Ledger, judge: Judge, numbers: range, threads: int = 1, scorer: str = "") -> list[Exception]:
    """Ask until the run stops. Returns the errors of the questions that ended in one."""
    caller = Caller(ledger, RUN, judge, JudgeSettings(model=MODEL, concurrency=max(1, threads)), Limits(100.0))

    def parse(text: str) -> Any:
        return single_grade.parse(rubric.load("specificity"), text)

    errors: list[Exception] = []

    def ask(number: int) -> None:
        if errors:
            return
        try:
            caller.ask(question(number + (N if scorer else 0)), parse, job(number, scorer), 0)
        except Exception as error:
            errors.append(error)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, numbers))
    return errors


@pytest.mark.parametrize("threads", [1, 64])
@pytest.mark.parametrize(
    ("stop", "text", "said"),
    [
        ("complete", "Sure! I would give it a 2.", r"2\d parse failure: .*'Sure! I would.*JSON object"),
        ("complete", "", "JSON object"),
        ("truncated", '{"reason": "it', r"2\d truncated.*raise judge\.max_output_tokens"),
        ("refusal", "I cannot", r"2\d refusal.*'I cannot'.*change judge.model"),
        ("complete", '{"reason": "r", "grade": 99}', r"2\d out of range"),
    ],
)
def test_at_most_sixty_of_a_thousand_calls_are_spent_on_unusable_replies(
    stop: str, text: str, said: str, threads: int, ledger: Ledger
) -> None:
    judge = Judge(lambda number: (stop, text))
    errors = ask_all(ledger, judge, range(N), threads)
    assert judge.times <= 60
    assert {type(error) for error in errors} == {ProviderStopped}
    with pytest.raises(ProviderStopped, match=said):
        raise errors[0]


def test_replies_that_may_be_billed_but_never_arrive_count_too(ledger: Ledger) -> None:
    def lose(number: int) -> tuple[Any, str]:
        raise MayRetry("it did not answer within 60 s", usage=Usage(known=False))

    judge = Judge(lose)
    [error] = ask_all(ledger, judge, range(N))
    assert judge.times <= 60
    assert "did not answer within 60 s" in str(error)
    assert "judge.timeout_s" in str(error)


def test_after_the_cause_is_mended_every_question_is_asked_again(ledger: Ledger) -> None:
    assert ask_all(ledger, Judge(lambda number: ("complete", "no")), range(N))
    mended = Judge(lambda number: ("complete", USABLE))
    assert ask_all(ledger, mended, range(40)) == []
    assert mended.times == 40
    with ledger.read() as tx:
        states = dict(tx.execute(sa.select(call_rows.c.state, sa.func.count()).group_by(call_rows.c.state)).all())
    assert states == {calls.ERROR: FIRST_REPLIES, calls.SCORED: 40}


def test_one_usable_reply_among_the_first_lets_the_run_continue(ledger: Ledger) -> None:
    judge = Judge(lambda number: ("complete", USABLE if number == 20 else "no"))
    assert ask_all(ledger, judge, range(100)) == []
    assert judge.times == 100


def test_a_scorer_whose_replies_are_all_unusable_stops_the_run_though_others_succeed(ledger: Ledger) -> None:
    assert ask_all(ledger, Judge(lambda number: ("complete", USABLE)), range(5)) == []
    judge = Judge(lambda number: ("complete", "no"))
    [error] = ask_all(ledger, judge, range(N), scorer="detection")
    assert judge.times == FIRST_REPLIES
    assert "to detection questions" in str(error)


def test_two_workers_count_together(ledger: Ledger) -> None:
    first, second = (Judge(lambda number: ("complete", "no")) for _ in range(2))
    assert ask_all(ledger, first, range(20)) == []
    assert ask_all(ledger, second, range(20, N))
    assert first.times + second.times == FIRST_REPLIES
