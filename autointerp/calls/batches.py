"""Asks a stage's questions in provider batches, at half the price and answered within a day.

    due jobs -> questions -> ledger (batch, calls, reservation) -> submit -> `autointerp.calls.batch_results`

Until a reply of a stage, or of a scorer, is usable, its questions are submitted in one small batch: a run whose replies are all unusable
stops after that (`autointerp.calls.breaker`).

A batch is written to the ledger before it is submitted, so that any later process can continue with it. Its items are open calls, so that
no other worker asks the same questions meanwhile. Questions that were answered before are not asked again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, Ask, OnSettled, call_key, free_answer
from autointerp.calls.batch_state import NeedsProvider, abandon, item_id, mark_submitted
from autointerp.calls.breaker import Breaker
from autointerp.calls.cost_limits import budget_error, input_bound, price_within
from autointerp.calls.settlement import conclude
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustWait
from autointerp.judges.batch_api import BatchItem, BatchProvider
from autointerp.ledger import batches, budgets, calls, jobs, leases
from autointerp.ledger.budgets import BudgetShortfall, Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt
from autointerp.records import Outcome
from autointerp.spec.judge_sections import Judge as JudgeSettings

T = TypeVar("T")
MAX_ITEMS = 10_000
"""Maximum number of items in a batch, below every provider's limit: larger batches are not faster and lose more when they fail."""
WAIT_S = 30.0
"""Seconds until jobs are due again that wait for the budget or for the answer to another worker's question."""


Failures = Mapping[str, ItemFailed]
"""Errors that are the answers to questions, by call key."""


@dataclass(frozen=True)
class Question:
    """The question that a job has to ask next: an item of the next batch. `bound_usd` is its maximum cost."""

    job: Job
    prompt: Prompt
    call_key: str
    bound_usd: float
    n_bytes: int


class Batcher:
    """Asks the questions of one stage of a run in batches.

    `run_job` carries out a job and asks the job's questions through the `Ask` that it gets. It is called once to find out what a job asks,
    and again with the answer.
    """

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
        run_job: Callable[[Job, Ask], None],
    ) -> None:
        """Raises `UsageError` for a budget that cannot be kept."""
        self.ledger, self.run_id, self.stage = ledger, run_id, stage
        self.judge, self.provider, self.limits, self.owner = judge, provider, limits, owner
        self.price = price_within(settings, limits)
        self.run_job = run_job
        self.breaker = Breaker(ledger, run_id, judge.name, owner)
        self._most_items = provider.max_items
        """How many items the next batch may hold: fewer after the account's queue had no room for a batch."""

    def submit_due(self) -> bool:
        """Lease the due jobs, finish those whose answers are known, and submit the questions of the others.

        Returns whether any job was finished or submitted. Raises `BudgetExceeded`, `ProviderStopped` and `budgets.NotRunning`; jobs that
        were not submitted are then due again.
        """
        leased = self._lease()
        try:
            questions = [question for job in leased if (question := self.question(job)) is not None]
            # A list and not a generator: every part is submitted before the sum.
            submitted = sum([self._submit(part) for part in self._parts(questions)])
        finally:
            with self.ledger.write() as tx:
                leases.put_back(tx, self.run_id, [job.job_key for job in leased], self.owner)
        return submitted > 0 or len(questions) < len(leased)

    def _lease(self) -> list[Job]:
        """Due jobs, as many as one batch may ask, and of those without a usable reply so far as many as the breaker allows."""
        room = self.breaker.room((self.stage, None))
        rooms: dict[str | None, int | None] = {None: room}
        if room is None:
            with self.ledger.read() as tx:
                scorers = jobs.due_scorers(tx, self.run_id, self.stage)
            rooms = {scorer: self.breaker.room((self.stage, scorer)) for scorer in scorers}
        leased: list[Job] = []
        with self.ledger.write() as tx:
            for scorer, room in rooms.items():
                left = MAX_ITEMS - len(leased)
                most = left if room is None else min(room, left)
                leased += leases.lease(tx, self.run_id, self.stage, most=most, owner=self.owner, scorer=scorer)
        return leased

    def ask(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, on_settled: OnSettled[T] | None
    ) -> Answer[T]:
        """The known answer to a question. Raises `NeedsProvider` if there is none."""
        answer = free_answer(self.ledger, self.run_id, self.judge, prompt, parse, repeat)
        if answer is None:
            raise NeedsProvider(prompt, call_key(self.judge, prompt, repeat))
        conclude(self.ledger, answer, on_settled)
        return answer

    def question(self, job: Job, failures: Failures | None = None) -> Question | None:
        """The question that a job has to ask next; None if the job could be finished with known answers.

        The error of a question in `failures`, or of one that the provider can never accept, is the answer to that question alone.
        """
        failures = dict(failures or {})

        def ask(
            prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, on_settled: OnSettled[T] | None
        ) -> Answer[T]:
            key = call_key(self.judge, prompt, repeat)
            error = failures.get(key)
            if error is None:
                return self.ask(prompt, parse, job, repeat, on_settled)
            answer: Answer[T] = Answer(None, Outcome(error.reason), str(error), key)
            conclude(self.ledger, answer, on_settled)
            return answer

        while True:
            try:
                self.run_job(job, ask)
                return None
            except NeedsProvider as needed:
                prompt, needed_key = needed.prompt, needed.key
            try:
                n_bytes = self.provider.size(BatchItem(item_id("", job.job_key), prompt))
            except ItemFailed as error:
                failures[needed_key] = error
                continue
            bound = prices.max_cost(input_bound(prompt), prompt.max_tokens, self.price, batch=True)
            return Question(job, prompt, needed_key, bound or 0.0, n_bytes)

    def _parts(self, questions: Sequence[Question]) -> Iterator[list[Question]]:
        """The questions, divided into batches that the provider accepts."""
        part: list[Question] = []
        size = 0
        for question in questions:
            if part and (size + question.n_bytes > self.provider.max_bytes or len(part) >= self._most_items):
                yield part
                part, size = [], 0
            part.append(question)
            size += question.n_bytes
        if part:
            yield part

    def note_room(self, n_items: int, *, has_room: bool) -> None:
        """Whether the account's queue had room for a batch of `n_items`. The next may be half as large, or at most twice."""
        limit = 2 * max(n_items, self._most_items) if has_room else max(1, n_items // 2)
        self._most_items = min(self.provider.max_items, limit)

    def _submit(self, questions: Sequence[Question]) -> int:
        """Record and submit a batch of as many of the questions as the budget allows. Returns their number."""
        batch_key = secrets.token_hex(32)
        try:
            with self.ledger.write() as tx:
                sent = self._record(tx, batch_key, self._affordable(tx, questions))
        except BudgetShortfall as short:
            if not short.may_recover:
                raise budget_error(short) from None
            self._postpone(questions, "waiting for budget that calls in flight have reserved")
            return 0
        if not sent:
            return 0
        try:
            provider_id = self.provider.submit(batch_key, [_item(batch_key, question) for question in sent])
        except MayRetry as error:
            if error.usage is None or error.usage.known:
                abandon(self.ledger, batch_key, self.run_id, error)
                return 0
            with self.ledger.write() as tx:  # it may have been accepted: `batch_results` looks for it
                batches.update(tx, batch_key, poll_in_s=0.0, reason=str(error))
        except JudgeError as error:
            if isinstance(error, MustWait):
                self.note_room(len(sent), has_room=False)
            abandon(self.ledger, batch_key, self.run_id, error)
            return 0
        else:
            event = f"batch of {len(sent):,} {self.stage} questions submitted"
            mark_submitted(self.ledger, batch_key, self.run_id, provider_id, event)
        return len(sent)

    def _affordable(self, tx: Connection, questions: Sequence[Question]) -> list[Question]:
        """As many of the first questions as the budgets allow, and at least one, so that the reservation fails if that is too much."""
        left = budgets.remaining(tx, self.run_id, self.limits)
        fitting: list[Question] = []
        for question in questions:
            left -= question.bound_usd
            if fitting and left < 0:
                break
            fitting.append(question)
        return fitting

    def _record(self, tx: Connection, batch_key: str, questions: Sequence[Question]) -> list[Question]:
        """Write a batch to the ledger: its open calls, its reservation and its row. Returns the questions that it holds.

        Questions that another worker is asking at this moment are postponed: its answer will serve for both.
        """
        month = budgets.month_of(self.limits)
        begun: list[Question] = []
        # In the order of their keys, so that two transactions that insert the same keys cannot wait for each other.
        for question in sorted(questions, key=lambda question: question.call_key):
            opening = calls.NewCall(
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
            batches.prepare(tx, batch_key, self.run_id, self.stage, self.judge.name, keys, self.owner)
        return begun

    def _postpone(self, questions: Sequence[Question], reason: str) -> None:
        with self.ledger.write() as tx:
            for question in questions:
                leases.postpone(tx, self.run_id, question.job, owner=self.owner, seconds=WAIT_S, error=reason)


def _item(batch_key: str, question: Question) -> BatchItem:
    return BatchItem(item_id(batch_key, question.job.job_key), question.prompt)
