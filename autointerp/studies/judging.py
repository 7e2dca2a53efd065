"""Questions of a study to a judge, with the prompts' limits, retries and budget of a run.

The answers to a command are in a ledger of their own, `studies/ledger.sqlite` in the results folder, those to a study of a spec in the ledger
of its run: no question is paid for twice, whichever study asks it, and a study that was stopped continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from autointerp.calls import consent, in_threads
from autointerp.calls.answers import Answer, call_key
from autointerp.calls.caller import Caller
from autointerp.errors import UsageError
from autointerp.formatting import dollars, plural
from autointerp.judges import cost_model
from autointerp.judges.base import Judge
from autointerp.judges.limits.limiter import Limiter
from autointerp.judges.registry import open_judge
from autointerp.ledger import calls, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt
from autointerp.progress import Progress
from autointerp.settings import Settings
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

T = TypeVar("T")
FOLDER = "studies"
_STAGE = "study"


@dataclass(frozen=True)
class Question(Generic[T]):
    """A prompt, and how its reply is read: `parse` raises `ReplyUnusable`."""

    prompt: Prompt
    parse: Callable[[str], T]


@dataclass(frozen=True)
class Payer:
    """The run in whose row of the ledger calls are counted. By default a study has a row of its own."""

    ledger: Ledger
    run_id: str
    limiter: Limiter | None = None
    """A limiter that workers share."""
    worker: str = ""
    agreed: bool = False
    """Whether consent to the cost of the run is given without a budget."""


@dataclass(frozen=True)
class Asking:
    """Which judge is asked, and what it may cost."""

    settings: JudgeSettings
    results: Path
    usd: float | None = None
    """Budget in dollars."""
    agreed: bool = False
    """Whether consent to the cost is given without a budget."""
    dry: bool = False
    """Only say what the questions will cost."""
    payer: Payer | None = None
    """The run whose spec names the study, and whose budget pays for it."""


class DryRun(Exception):
    """The forecast was printed, and nothing is asked. Ends the study."""


def ask(asking: Asking, study_id: str, questions: Sequence[Question[T]], progress: Progress) -> list[Answer[T]]:
    """The answers in the order of the questions. Those that the ledger knows are not asked again.

    `study_id` is the same for equal studies only: a budget holds for one study, or for its run. Says the forecast first, and asks for
    consent above a dollar if there is no budget. Raises `DryRun`, `UsageError` for a judge that is no LLM, `BudgetExceeded` and
    `ProviderStopped`; the same call continues.
    """
    with ExitStack() as stack:
        judge = open_judge(asking.settings, rubric.load("specificity"))
        stack.callback(judge.close)
        if not judge.is_llm:
            raise UsageError(f"{judge.name} cannot answer a study's questions: give --judge PROVIDER/MODEL of an LLM")
        payer = asking.payer or stack.enter_context(_own_row(asking, study_id))
        cost = _expected_cost(asking, payer, judge, [question.prompt for question in questions])
        forecast = _forecast(judge, len(questions), cost)
        if asking.dry:
            progress.say(forecast)
            raise DryRun
        progress.note(forecast)
        name = "budget.usd" if asking.payer else "--usd"
        consent.require(cost.usd, asking.usd, progress, agreed=asking.agreed, name=name)
        limits = Limits(asking.usd, Settings.from_env().month_usd)
        caller = Caller(
            payer.ledger, payer.run_id, judge, asking.settings, limits, limiter=payer.limiter, worker=payer.worker
        )
        asked = [
            partial(caller.ask, question.prompt, question.parse, Job(f"{study_id}-{number}", _STAGE), 0)
            for number, question in enumerate(questions)
        ]
        ask_all = in_threads.ask_all if asking.payer else in_threads.ask_run
        return ask_all(caller, asking.settings, asked, progress)


@contextmanager
def _own_row(asking: Asking, study_id: str) -> Iterator[Payer]:
    """A row of the study alone, in the ledger of studies. Calls of an earlier process that never returned are written off."""
    with closing(Ledger.in_folder(asking.results / FOLDER)) as ledger:
        with ledger.write() as tx:
            runs.register(tx, run_id=study_id, name=study_id, spec_hash=study_id, spec="")
            calls.write_off(tx, study_id)
        yield Payer(ledger, study_id)


def _expected_cost(asking: Asking, payer: Payer, judge: Judge, prompts: Sequence[Prompt]) -> cost_model.Cost:
    with payer.ledger.read() as tx:
        left = [prompt for prompt in prompts if calls.find_answer(tx, payer.run_id, call_key(judge, prompt, 0)) is None]
    return cost_model.expected(asking.settings, left, judge=judge) if left else cost_model.Cost(0, 0, 0, 0, 0.0, "")


def _forecast(judge: Judge, n_questions: int, cost: cost_model.Cost) -> str:
    questions = f"{plural(n_questions, 'question')} to {judge.name}"
    if not cost.calls:
        return f"{questions}: answered already"
    price = "cost unknown: no price for this model" if cost.usd is None else f"about {dollars(cost.usd)}"
    return f"{questions}: {plural(cost.calls, 'call')}, {price}"
