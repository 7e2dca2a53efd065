"""A run whose first replies are all unusable stops early, says why, and asks again once the cause is mended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autointerp.calls import caller as caller_
from autointerp.calls.answers import Answer
from autointerp.calls.breaker import FIRST_REPLIES, MOST_ASKED, FirstRepliesUnusable
from autointerp.calls.caller import Caller
from autointerp.errors import LedgerRejected
from autointerp.judges import retry
from autointerp.judges.base import ItemFailed, MayRetry
from autointerp.ledger import calls, events, jobs, judgements, runs
from autointerp.ledger.budgets import Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import calls as call_rows
from autointerp.messages import MarkedText, Prompt, Reply, ScoreMaterial, Usage
from autointerp.prompts import single_grade
from autointerp.records import Arm, ExplanationKey, Judgement
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODEL, RUN, N = "anthropic/claude-haiku-4-5", "run-0", 1000
RULES = rubric.load("specificity")
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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.0)
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_service").ledger()
    opened = Ledger.in_folder(tmp_path, url)
    with opened.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        jobs.plan(tx, RUN, [job(number, scorer) for number in range(N) for scorer in ("", "detection", "distinction")])
    yield opened
    opened.close()


def no(number: int) -> tuple[Any, str]:
    return "complete", "no"


def ask_all(ledger: Ledger, judge: Judge, numbers: Sequence[int], **options: Any) -> list[Exception]:
    """Start or resume the run, and ask as one of its workers until it stops, with the options of `ask_as_worker`."""
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
    return ask_as_worker(ledger, judge, numbers, **options)


def ask_as_worker(
    ledger: Ledger,
    judge: Judge,
    numbers: Sequence[int],
    threads: int = 1,
    scorer: str = "",
    asked: Sequence[int] = range(N),
) -> list[Exception]:
    """Ask for a run that is running; job n asks question `asked[n]`. Returns the errors of the questions that ended in one."""
    caller = Caller(ledger, RUN, judge, JudgeSettings(model=MODEL, concurrency=max(1, threads)), Limits(100.0))

    def parse(text: str) -> Any:
        return single_grade.parse(RULES, text)

    errors: list[Exception] = []

    def ask(number: int) -> None:
        if errors:
            return
        this = job(number, scorer)

        def store(tx: sa.Connection, answer: Answer[Any]) -> None:
            score = answer.value.score if answer.value else None
            graded = Judgement(
                f"exemplar-{number}", this.unit_id, Arm.MAIN, 0, answer.outcome, score, answer.reason, answer.call_key
            )
            judgements.add_judgement(tx, RUN, this.job_key, ExplanationKey(this.unit_id), graded)
            jobs.finish(tx, RUN, this.job_key)

        try:
            caller.ask(question(asked[number] + (N if scorer else 0)), parse, this, 0, store)
        except Exception as error:
            errors.append(error)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, numbers))
    return errors


@pytest.mark.parametrize(
    ("threads", "stop", "text", "said"),
    [
        (64, "complete", "Sure! I would give it a 2.", r"\d\d parse failure: .*'Sure! I would.*JSON object"),
        (1, "complete", "Sure! I would give it a 2.", r"\d\d parse failure: .*'Sure! I would.*JSON object"),
        (1, "complete", "", "JSON object"),
        (1, "truncated", '{"reason": "it', r"\d\d truncated.*raise judge\.max_output_tokens"),
        (1, "refusal", "I cannot", r"\d\d refusal.*'I cannot'.*change judge.model"),
        (1, "complete", '{"reason": "r", "grade": 99}', r"\d\d out of range"),
    ],
)
def test_at_most_sixty_of_a_thousand_calls_are_spent_on_unusable_replies(
    threads: int, stop: str, text: str, said: str, ledger: Ledger
) -> None:
    judge = Judge(lambda number: (stop, text))
    errors = ask_all(ledger, judge, range(N), threads=threads)
    assert judge.times <= 60
    assert {type(error) for error in errors} == {FirstRepliesUnusable}
    with pytest.raises(FirstRepliesUnusable, match=said):
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
    assert ask_all(ledger, Judge(no), range(N))
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


@pytest.mark.parametrize(
    ("scorer", "way_out"),
    [("detection", "take detection out of score.also"), ("distinction", "set controls.neighbours = 0")],
)
def test_a_scorer_whose_replies_are_all_unusable_stops_the_run_though_others_succeed(
    ledger: Ledger, scorer: str, way_out: str
) -> None:
    assert ask_all(ledger, Judge(lambda number: ("complete", USABLE)), range(5)) == []
    judge = Judge(no)
    [error] = ask_all(ledger, judge, range(N), scorer=scorer)
    assert judge.times == FIRST_REPLIES
    assert f"to {scorer} questions" in str(error)
    assert str(error).endswith(f", or {way_out}")


def test_workers_count_together_and_what_arrives_after_the_stop_is_withdrawn(ledger: Ledger) -> None:
    workers = [Judge(lambda number: (time.sleep(0.02), ("complete", "no"))[1]) for _ in range(5)]

    def work(number: int) -> list[Exception]:
        return ask_as_worker(ledger, workers[number], range(number, N, len(workers)), threads=12)

    with ThreadPoolExecutor(len(workers)) as pool:
        errors = [error for found in pool.map(work, range(len(workers))) for error in found]
    assert FIRST_REPLIES <= sum(judge.times for judge in workers) <= MOST_ASKED
    assert {type(error) for error in errors} == {FirstRepliesUnusable, NotRunning}
    with ledger.read() as tx:
        row = runs.get(tx, RUN)
        states = {state for by_state in jobs.counts(tx, RUN).values() for state in by_state}
        assert judgements.judgement_rows(tx, RUN) == []
        events_ = [event["text"] for event in events.of_run(tx, RUN)]
    assert row is not None
    assert row["state"] == "stopped"
    assert events_ == [f"stopped: {row['reason']}"]
    assert states == {"pending"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_withdraws_failures_of_the_provider_on_either_side_of_it(ledger: Ledger, when: str) -> None:
    """They may have the same cause: those of earlier stages, and those that arrive at another worker after the stop."""
    in_flight, stopped = threading.Event(), threading.Event()

    def fail(number: int) -> tuple[Any, str]:
        in_flight.set()
        assert when == "before" or stopped.wait(30.0)
        raise ItemFailed("400: cannot be served")

    with ThreadPoolExecutor(1) as other:
        failing = other.submit(ask_as_worker, ledger, Judge(fail), [0])
        assert in_flight.wait(30.0)
        errors = failing.result() if when == "before" else []
        with ledger.read() as tx:
            assert len(judgements.judgement_rows(tx, RUN)) == (1 if when == "before" else 0)
        assert [type(error) for error in ask_as_worker(ledger, Judge(no), range(1, N))] == [FirstRepliesUnusable]
        stopped.set()
        errors += failing.result() if when == "after" else []
    assert [type(error) for error in errors] == ([] if when == "before" else [NotRunning])
    with ledger.read() as tx:
        assert judgements.judgement_rows(tx, RUN) == []


def test_a_reply_stored_without_what_follows_from_it_is_withdrawn_with_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses the transaction that was to store both, and the run stops before the second one."""
    lock, failed = runs.lock_row, threading.Event()

    def lock_row(tx: sa.Connection, run_id: str) -> Any:
        if not failed.is_set():
            failed.set()
            raise LedgerRejected("a value too large")
        return lock(tx, run_id)

    caller = Caller(ledger, RUN, Judge(no), JudgeSettings(model=MODEL), Limits(100.0))
    monkeypatch.setattr(runs, "lock_row", lock_row)
    settled = caller.store

    def stop_first(*arguments: Any) -> None:
        with ledger.write() as tx:
            runs.set_state(tx, RUN, "stopped")
        settled(*arguments)

    monkeypatch.setattr(caller, "store", stop_first)
    with pytest.raises(NotRunning):
        caller.ask(question(0), lambda text: single_grade.parse(RULES, text), job(0), 0)
    with ledger.read() as tx:
        states = set(tx.execute(sa.select(call_rows.c.state)).scalars())
    assert states == {calls.ERROR}


def test_an_answer_found_in_the_ledger_is_not_used_once_a_stop_has_withdrawn_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_stop(*arguments: Any) -> Any:
        monkeypatch.undo()
        found = caller_.free_answer(*arguments)
        assert found is not None
        assert [type(error) for error in ask_as_worker(ledger, Judge(no), range(1, N))] == [FirstRepliesUnusable]
        with ledger.write() as tx:
            runs.set_state(tx, RUN, "running")  # resumed meanwhile
        return found

    assert ask_as_worker(ledger, Judge(no), [0]) == []
    monkeypatch.setattr(caller_, "free_answer", then_stop)
    assert [type(error) for error in ask_as_worker(ledger, Judge(no), [0])] == [caller_.Postponed]
    with ledger.read() as tx:
        assert judgements.judgement_rows(tx, RUN) == []


def test_a_stop_withdraws_what_other_jobs_with_the_same_question_were_answered(ledger: Ledger) -> None:
    """Of two jobs that ask the same, one makes the call and the other finds its reply in the ledger."""
    alike = [number - number % 2 for number in range(N)]
    judge = Judge(no)
    [error] = ask_all(ledger, judge, range(N), asked=alike)
    assert isinstance(error, FirstRepliesUnusable)
    assert judge.times == FIRST_REPLIES
    with ledger.read() as tx:
        assert judgements.judgement_rows(tx, RUN) == []
        assert set(jobs.counts(tx, RUN)["score"]) == {"pending"}


def test_a_failure_of_a_run_that_answers_is_kept(ledger: Ledger) -> None:
    def say(number: int) -> tuple[Any, str]:
        if number == 5:
            raise ItemFailed("400: cannot be served")
        return "complete", USABLE

    assert ask_all(ledger, Judge(say), range(10)) == []
    with ledger.read() as tx:
        assert judgements.unscored(tx, RUN) == {"provider_error": 1}
