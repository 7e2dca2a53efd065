"""Asks a judge every item of a graded set, by the same path as a run: prompts, limits, retries, budget and ledger.

The ledger is one of its own, `judges/ledger.sqlite` in the results folder, so that a check is no run among runs, a stopped check
goes on where it stopped, and no question is paid for twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.calls.answers import Answer, call_key
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import exit_code_of
from autointerp.hashing import content_hash
from autointerp.judge_check.check_plan import Plan, Question, questions
from autointerp.judges import cost_model
from autointerp.judges.base import Judge
from autointerp.judges.limits.limiter import Aborted
from autointerp.judges.registry import open_judge
from autointerp.ledger import calls, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.locks import locked
from autointerp.progress import Progress
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Grade
from autointerp.records import Outcome
from autointerp.settings import Settings
from sae.errors import one_line

FOLDER = "judges"
"""Where checks lie in a results folder."""
STAGE = "check"
TOLD = "asking the judge"
Answers = Answer[list[Grade | ReplyUnusable]]


@dataclass(frozen=True)
class Given:
    """What a judge gave to an item: `score` unless the outcome says why there is none; `expected` from its probabilities."""

    outcome: Outcome
    score: int | None
    expected: float | None
    reason: str


@dataclass(frozen=True)
class Checked:
    """Everything that came of a check: `given` by item, `again` in the other order, and the ledger's totals."""

    plan: Plan
    judge: str
    is_llm: bool
    given: Mapping[str, Given]
    again: Mapping[str, Given]
    totals: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A file's name that tells checks apart."""
        tail = content_hash([[item.id for item in self.plan.items], self.plan.graded.hash, self.plan.rubric.hash])[:8]
        order = "" if self.plan.shuffle is None else f"-shuffled{self.plan.shuffle}"
        model = re.sub(r"[^A-Za-z0-9.]+", "-", self.judge).strip("-")
        return f"{model}-{self.plan.ask}-{self.plan.per_call}{order}-{tail}"


def carry(plan: Plan, results: Path, progress: Progress) -> Checked:
    """Ask what is not answered yet, and return every answer. Raises what stops it; the same call goes on from there."""
    folder = results / FOLDER
    with ExitStack() as stack:
        stack.enter_context(locked(folder / ".lock", "a check of a judge"))
        ledger = Ledger.in_folder(folder)
        stack.callback(ledger.close)
        judge = open_judge(plan.settings, plan.rubric)
        stack.callback(judge.close)
        asked = questions(plan)
        run_id = _register(ledger, plan, judge)
        left = unanswered(ledger, run_id, judge, asked)
        progress.note(forecast(plan, judge, asked, left))
        progress.tell(TOLD, len(asked) - len(left), len(asked))
        limits = Limits(plan.usd, Settings.from_env().month_usd)
        caller = Caller(ledger, run_id, judge, plan.settings, limits)
        try:
            answers = _ask_all(caller, asked, progress)
        except BaseException as error:
            with ledger.write() as tx:
                runs.set_state(tx, run_id, "stopped", one_line(error), exit_code_of(error))
            raise
        given: dict[bool, dict[str, Given]] = {True: {}, False: {}}
        for question, answer in zip(asked, answers, strict=True):
            for number, item in enumerate(question.items):
                given[question.first][item.id] = _given(answer, number)
        with ledger.write() as tx:
            runs.set_state(tx, run_id, "done")
            totals = calls.totals(tx, run_id)
        return Checked(plan, judge.name, judge.is_llm, given[True], given[False], totals)


def unanswered(ledger: Ledger, run_id: str, judge: Judge, asked: Sequence[Question]) -> list[Question]:
    """The questions that the ledger has no answer to."""
    with ledger.read() as tx:
        return [q for q in asked if calls.answered(tx, run_id, call_key(judge, q.prompt, 0)) is None]


def forecast(plan: Plan, judge: Judge, asked: Sequence[Question], left: Sequence[Question]) -> str:
    """What is `left` to ask and about what it costs, in a line."""
    what = f"{len(plan.items)} items of {plan.graded.name} {plan.graded.version}"
    if not judge.is_llm:
        return f"{what}: {len(asked)} questions to {judge.name}, which is not an LLM: no calls, no cost"
    if not left:
        return f"{what}: all {len(asked)} questions to {judge.name} are answered already"
    cost = cost_model.expected(plan.settings, [question.prompt for question in left], judge=judge)
    dollars = "cost unknown: no price for this model" if cost.usd is None else f"about ${cost.usd:.4f}"
    return (
        f"{what}: {cost.calls} calls to {judge.name}, about {cost.input_tokens:,} input and {cost.output_tokens:,}"
        f" output tokens, {dollars}"
    )


def _register(ledger: Ledger, plan: Plan, judge: Judge) -> str:
    """The check's row in the ledger, taken up or new; calls that a kill left open are written off."""
    asked = [
        [item.id for item in plan.items],
        plan.graded.hash,
        plan.rubric.hash,
        plan.ask,
        plan.per_call,
        plan.shuffle,
    ]
    address = content_hash([dict(judge.identity()), *asked])
    run_id = f"check-{address[:16]}"
    with ledger.write() as tx:
        runs.register(tx, run_id=run_id, name=f"check {judge.name}", spec_hash=address, spec="")
        calls.write_off(tx, run_id)
    return run_id


def _ask_all(caller: Caller, asked: Sequence[Question], progress: Progress) -> list[Answers]:
    """All answers in the order of the questions, asked on the caller's threads. Raises what stops it."""
    pool = ThreadPoolExecutor(caller.concurrency, thread_name_prefix=STAGE)
    futures = [pool.submit(_ask, caller, number, question) for number, question in enumerate(asked)]
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=0.25, return_when=FIRST_EXCEPTION)
            if any(future.exception() for future in done):
                break
            if done and (progress.wants_update() or not waiting):
                progress.tell(TOLD, len(futures) - len(waiting), len(futures), spent_usd=_spent(caller))
    except KeyboardInterrupt:
        progress.note("stopping: calls in flight may be billed, so their replies are waited for")
        raise
    finally:
        caller.abort()
        pool.shutdown(wait=True, cancel_futures=True)
    ended = [future.exception() for future in futures if not future.cancelled()]
    errors = [error for error in ended if error is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, Aborted)), errors[0])
    return [future.result() for future in futures]


def _ask(caller: Caller, number: int, question: Question) -> Answers:
    """The answer to one question; an error holds back all others, which would end in it too."""
    job = Job(f"{STAGE}-{number}", STAGE)
    try:
        while True:
            try:
                return caller.ask(question.prompt, question.parse, job, 0)
            except Postponed as pause:
                caller.limiter.sleep(pause.seconds)
    except BaseException:
        caller.abort()
        raise


def _given(answer: Answers, number: int) -> Given:
    if answer.value is None:
        return Given(answer.outcome, None, None, answer.reason)
    grade = answer.value[number]
    if isinstance(grade, ReplyUnusable):
        return Given(grade.outcome, None, None, str(grade))
    return Given(Outcome.SCORED, grade.score, grade.expected, grade.reason)


def _spent(caller: Caller) -> float | None:
    with caller.ledger.read() as tx:
        row = runs.get(tx, caller.run_id)
    return float(row["spent_usd"]) if row else None
