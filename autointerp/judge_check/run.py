"""Asks a judge about every item of a graded set with the prompts, limits, retries and budget of a run.

The answers are in a ledger of its own, `judges/ledger.sqlite` in the results folder: a check is not listed among the runs, a stopped
check resumes, and no question is paid for twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from autointerp.calls import consent, groups, in_threads
from autointerp.calls.answers import Answer, Ask, call_key
from autointerp.calls.caller import Caller
from autointerp.formatting import dollars
from autointerp.hashing import content_hash
from autointerp.judge_check.check_plan import Plan, Question, alone, questions
from autointerp.judge_check.verdict import FOLDER
from autointerp.judges import cost_model
from autointerp.judges.base import Judge
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

STAGE = "check"
Answers = Answer[list[Grade | ReplyUnusable]]


@dataclass(frozen=True)
class ItemAnswer:
    """The judge's answer to an item: its `score`, None unless `outcome` is scored, and the expected grade if there are probabilities."""

    outcome: Outcome
    score: int | None
    expected: float | None
    reason: str


@dataclass(frozen=True)
class CheckResult:
    """The answers of a check by item id, in the first and in the second order, and the ledger's totals."""

    plan: Plan
    judge: str
    is_llm: bool
    answers: Mapping[str, ItemAnswer]
    reordered: Mapping[str, ItemAnswer]
    totals: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the check's file, different for checks that differ."""
        digest = content_hash([[item.id for item in self.plan.items], self.plan.graded.hash, self.plan.rubric.hash])[:8]
        order = "" if self.plan.shuffle is None else f"-shuffled{self.plan.shuffle}"
        model = re.sub(r"[^A-Za-z0-9.]+", "-", self.judge).strip("-")
        return f"{model}-{self.plan.ask}-{self.plan.per_call}{order}-{digest}"


def path_of(result: CheckResult, results: Path) -> Path:
    """The file of a check in a results folder."""
    return results / FOLDER / f"{result.name}.json"


def run_check(plan: Plan, results: Path, progress: Progress) -> CheckResult:
    """Ask the questions that have no answer yet, and return all answers. Raises the error that stops it; the same call resumes."""
    folder = results / FOLDER
    with ExitStack() as stack:
        stack.enter_context(locked(folder / ".lock", "a check of a judge"))
        ledger = Ledger.in_folder(folder)
        stack.callback(ledger.close)
        judge = open_judge(plan.settings, plan.rubric)
        stack.callback(judge.close)
        all_questions = questions(plan)
        run_id = _register(ledger, plan, judge)
        left = unanswered(ledger, run_id, judge, all_questions)
        cost = expected_cost(plan, judge, left)
        progress.note(forecast(plan, judge, len(all_questions), cost))
        consent.require(cost.usd, plan.usd, progress, agreed=plan.agreed, name="--usd")
        progress.update(in_threads.PHASE, len(all_questions) - len(left), len(all_questions))
        limits = Limits(plan.usd, Settings.from_env().month_usd)
        caller = Caller(ledger, run_id, judge, plan.settings, limits)
        asked = [partial(_ask, caller, plan, number, question) for number, question in enumerate(all_questions)]
        answers = in_threads.ask_run(caller, plan.settings, asked, progress)
        first: dict[str, ItemAnswer] = {}
        second: dict[str, ItemAnswer] = {}
        for question, of_items in zip(all_questions, answers, strict=True):
            answered = zip((item.id for item in question.items), of_items, strict=True)
            (first if question.first else second).update(answered)
        with ledger.read() as tx:
            totals = calls.totals(tx, run_id)
        return CheckResult(plan, judge.name, judge.is_llm, first, second, totals)


def unanswered(ledger: Ledger, run_id: str, judge: Judge, asked: Sequence[Question]) -> list[Question]:
    """The questions without an answer in the ledger."""
    with ledger.read() as tx:
        return [q for q in asked if calls.find_answer(tx, run_id, call_key(judge, q.prompt, 0)) is None]


def expected_cost(plan: Plan, judge: Judge, left: Sequence[Question]) -> cost_model.Cost:
    """The calls of the questions that are `left` to ask, and their expected cost."""
    if not judge.is_llm or not left:
        return cost_model.Cost(0, 0, 0, 0, 0.0, "")
    return cost_model.expected(plan.settings, [question.prompt for question in left], judge=judge)


def forecast(plan: Plan, judge: Judge, n_questions: int, cost: cost_model.Cost) -> str:
    """One line: how many of the questions are left to ask, and what they will `cost`."""
    items = f"{len(plan.items)} items of {plan.graded.name} {plan.graded.version}"
    if not judge.is_llm:
        return f"{items}: {n_questions} questions to {judge.name}, which is not an LLM: no calls, no cost"
    if not cost.calls:
        return f"{items}: all {n_questions} questions to {judge.name} are answered already"
    price = "cost unknown: no price for this model" if cost.usd is None else f"about {dollars(cost.usd)}"
    return (
        f"{items}: {cost.calls} calls to {judge.name}, about {cost.input_tokens:,} input and {cost.output_tokens:,}"
        f" output tokens, {price}"
    )


def _register(ledger: Ledger, plan: Plan, judge: Judge) -> str:
    """Add the check to the ledger unless it is there, and write off calls that a killed process left open. Returns its run id."""
    identity = [
        [item.id for item in plan.items],
        plan.graded.hash,
        plan.rubric.hash,
        plan.ask,
        plan.per_call,
        plan.shuffle,
    ]
    address = content_hash([dict(judge.identity()), *identity])
    run_id = f"check-{address[:16]}"
    with ledger.write() as tx:
        runs.register(tx, run_id=run_id, name=f"check {judge.name}", spec_hash=address, spec="")
        calls.write_off(tx, run_id)
    return run_id


def _ask(caller: Caller, plan: Plan, number: int, question: Question) -> list[ItemAnswer]:
    return _answer(caller.ask, plan, question, Job(f"{STAGE}-{number}", STAGE))


def _answer(ask: Ask, plan: Plan, question: Question, job: Job) -> list[ItemAnswer]:
    """The answers to a question's items. As in a run, a group whose reply cannot be assigned is asked again, and then item by item."""
    if len(question.items) == 1:
        return [_item_answer(ask(question.prompt, question.parse, job, 0, None), 0)]
    read: list[Answers] = []

    def keep(tx: Connection, answer: Answers) -> None:
        read.append(answer)

    if groups.ask_group(ask, question, len(question.items), job, 0, keep):
        return [_item_answer(read[-1], number) for number in range(len(question.items))]
    return [_item_answer(ask(each.prompt, each.parse, job, 0, None), 0) for each in alone(plan, question)]


def _item_answer(answer: Answers, number: int) -> ItemAnswer:
    """The answer to item `number` of a question."""
    if answer.value is None:
        return ItemAnswer(answer.outcome, None, None, answer.reason)
    grade = answer.value[number]
    if isinstance(grade, ReplyUnusable):
        return ItemAnswer(grade.outcome, None, None, str(grade))
    return ItemAnswer(Outcome.SCORED, grade.score, grade.expected, grade.reason)
