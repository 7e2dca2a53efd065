"""Asks a stage's questions in provider batches: half the price, answered within a day, carried across any restart.

    due jobs -> questions -> ledger (batch, items, money set aside) -> submit -> `autointerp.tending`

A batch is written down before it is handed in, and its items are calls that stay open, so nobody asks the same meanwhile. What is
already answered costs nothing here as elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, Ask, Conclude, call_key, free_answer
from autointerp.calls.batch_state import StillOpen, dissolve, item_id, submitted
from autointerp.calls.caller import budget_error, input_bound, price_within
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry
from autointerp.judges.batch_api import BatchItem, BatchProvider
from autointerp.ledger import batches, budgets, calls, leases
from autointerp.ledger.budgets import Limits, Short
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt
from autointerp.records import Outcome
from autointerp.spec.sections import Judge as JudgeSettings

T = TypeVar("T")
MOST_ITEMS = 10_000
"""Items of a batch at most, below any provider's limit: a larger one takes no less long and loses more when it fails."""
WAIT_S = 30.0
"""After this long, jobs that wait for money or for another's answer fall due again."""


@dataclass(frozen=True)
class Question:
    """What a job still has to ask: an item of the next batch. `bound_usd` is the most that it can cost."""

    job: Job
    prompt: Prompt
    call_key: str
    bound_usd: float


class Batcher:
    """Carries one stage of a run in batches. `handle` does a job: it asks the job's questions through the function that it is given."""

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        stage: str,
        settings: JudgeSettings,
        judge: Judge,
        provider: BatchProvider,
        limits: Limits,
        owner: str,
        handle: Callable[[Job, Ask], None],
    ) -> None:
        """Raises `UsageError` for a budget that cannot be kept."""
        self.ledger, self.run_id, self.stage = ledger, run_id, stage
        self.judge, self.provider, self.limits, self.owner = judge, provider, limits, owner
        self.price = price_within(settings, limits)
        self.handle = handle

    def send(self) -> bool:
        """Lease what is due, finish what is already answered, hand in the rest. Returns whether that brought the run on.

        Raises `BudgetExceeded`, `ProviderStopped` and `budgets.NotRunning`; what was not handed in is due again then.
        """
        with self.ledger.write() as tx:
            leased = leases.lease(tx, self.run_id, self.stage, most=MOST_ITEMS, owner=self.owner)
        try:
            questions = [question for job in leased if (question := self._question(job)) is not None]
            handed_in = sum([self._hand_in(part) for part in self._parts(questions)])
        finally:
            with self.ledger.write() as tx:
                leases.put_back(tx, self.run_id, [job.job_key for job in leased], self.owner)
        return handed_in > 0 or len(questions) < len(leased)

    def ask(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, conclude: Conclude[T] | None
    ) -> Answer[T]:
        """What is known of a question. Raises `StillOpen` where only the provider has the answer."""
        answer = free_answer(self.ledger, self.run_id, self.judge, prompt, parse, repeat)
        if answer is None:
            raise StillOpen(prompt, call_key(self.judge, prompt, repeat))
        if conclude is not None:
            with self.ledger.write() as tx:
                conclude(tx, answer)
        return answer

    def _question(self, job: Job) -> Question | None:
        """What a job has to ask; None when it could be finished with what is known."""
        try:
            self.handle(job, self.ask)
        except StillOpen as asked:
            bound = prices.most(input_bound(asked.prompt), asked.prompt.max_tokens, self.price, batch=True)
            return Question(job, asked.prompt, asked.key, bound or 0.0)
        return None

    def _parts(self, questions: Sequence[Question]) -> Iterator[list[Question]]:
        """The questions in batches that the provider takes; one that it never could is left unscored."""
        part: list[Question] = []
        size = 0
        for question in questions:
            try:
                bytes_ = self.provider.size(_item("", question))
            except ItemFailed as error:
                self.unanswerable(question.job, error)
                continue
            if part and (size + bytes_ > self.provider.most_bytes or len(part) == self.provider.most_items):
                yield part
                part, size = [], 0
            part.append(question)
            size += bytes_
        if part:
            yield part

    def unanswerable(self, job: Job, error: ItemFailed) -> None:
        """Finish a job whose question cannot be answered."""

        def ask(
            prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, conclude: Conclude[T] | None
        ) -> Answer[T]:
            answer: Answer[T] = Answer(None, Outcome(error.reason), str(error), call_key(self.judge, prompt, repeat))
            if conclude is not None:
                with self.ledger.write() as tx:
                    conclude(tx, answer)
            return answer

        self.handle(job, ask)

    def _hand_in(self, questions: Sequence[Question]) -> int:
        """Write a batch down, with as many of the questions as there is money for, and submit it. Returns how many."""
        batch_key = secrets.token_hex(32)
        try:
            with self.ledger.write() as tx:
                sent = self._write_down(tx, batch_key, self._affordable(tx, questions))
        except Short as short:
            if not short.may_ease:
                raise budget_error(short) from None
            self._let_wait(questions, "waiting for money that calls in flight hold")
            return 0
        if not sent:
            return 0
        try:
            provider_id = self.provider.submit(batch_key, [_item(batch_key, question) for question in sent])
        except MayRetry as error:
            if error.usage is None or error.usage.known:
                dissolve(self.ledger, batch_key, self.run_id, error)
                return 0
            with self.ledger.write() as tx:  # nobody knows whether it was accepted: whoever tends it finds out
                batches.update(tx, batch_key, poll_in_s=0.0, reason=str(error))
        except JudgeError as error:
            dissolve(self.ledger, batch_key, self.run_id, error)
            return 0
        else:
            submitted(
                self.ledger,
                batch_key,
                self.run_id,
                provider_id,
                f"batch of {len(sent):,} {self.stage} questions handed in",
            )
        return len(sent)

    def _affordable(self, tx: Connection, questions: Sequence[Question]) -> list[Question]:
        """The first questions, as many as the budgets allow; at least one, for which the reservation then fails."""
        left = budgets.left(tx, self.run_id, self.limits)
        fitting: list[Question] = []
        for question in questions:
            left -= question.bound_usd
            if fitting and left < 0:
                break
            fitting.append(question)
        return fitting

    def _write_down(self, tx: Connection, batch_key: str, questions: Sequence[Question]) -> list[Question]:
        """Open the batch's calls and set its money aside. What others are asking at this moment waits for their answer."""
        month = budgets.month_of(self.limits)
        begun: list[Question] = []
        for question in sorted(
            questions, key=lambda question: question.call_key
        ):  # so that no two batches wait for each other
            opening = calls.Opening(
                self.run_id,
                question.job.job_key,
                question.call_key,
                self.judge.name,
                question.bound_usd,
                self.owner,
                month,
                batch_key,
            )
            if calls.begin(tx, opening, question.prompt) is not None:
                begun.append(question)
            else:
                leases.postpone(
                    tx, self.run_id, question.job, owner=self.owner, seconds=WAIT_S, error="asked elsewhere"
                )
        if begun:
            budgets.reserve(tx, self.run_id, sum(question.bound_usd for question in begun), self.limits, month)
            keys = [question.job.job_key for question in begun]
            batches.prepare(tx, batch_key, self.run_id, self.stage, self.judge.name, keys)
        return begun

    def _let_wait(self, questions: Sequence[Question], why: str) -> None:
        with self.ledger.write() as tx:
            for question in questions:
                leases.postpone(tx, self.run_id, question.job, owner=self.owner, seconds=WAIT_S, error=why)


def _item(batch_key: str, question: Question) -> BatchItem:
    return BatchItem(item_id(batch_key, question.job.job_key), question.prompt)
