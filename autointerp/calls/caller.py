"""Asks a judge for a run: known answers are reused; other questions are admitted, reserved, attempted and recorded.

ledger (answered before?) -> limiter -> budget -> one attempt -> ledger, and again after a transient failure
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, OnSettled, call_key, free_answer
from autointerp.calls.attempts import AdmittedCall, Attempts
from autointerp.calls.breaker import Breaker, Full
from autointerp.calls.cost_limits import budget_error, input_bound, price_within
from autointerp.calls.server_watch import ServerWatch
from autointerp.calls.settlement import AfterReply, Settlement, conclude, settle
from autointerp.errors import LedgerFailed, ProviderStopped, TransactionConflict
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, MustStop, MustWait
from autointerp.judges.limits.limiter import Aborted, CallOutcome, Limiter, LocalLimiter, LongPause
from autointerp.ledger import budgets, calls, jobs
from autointerp.ledger.budgets import BudgetShortfall, Limits, NotRunning
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.judgements import error_kind
from autointerp.messages import Prompt
from autointerp.records import Outcome
from autointerp.spec import judge_sections

T = TypeVar("T")
SAME_ERROR_LIMIT = 10
"""After this many identical errors in a row, stop the run: the cause is not the item."""
MIN_PAUSE_S = 30.0
"""Shortest pause after `MustWait`, however short the provider's request."""
ITEM_REFUSALS = 12
"""After this many refusals of one question, such as 429, while others are answered, the question is unscored."""
LAST_QUESTIONS = 3
"""If no more questions than this are left, a pause that is too long leaves them unscored instead of stopping the run."""
ASKED_ELSEWHERE_S = 5.0
"""After this time, a question that another worker was asking is looked up again."""
BUDGET_POLL_S, BUDGET_PATIENCE_S = 0.5, 10.0
"""Interval between looks at a budget that other calls have reserved, and how long an item waits for it before it is postponed: a batch may
keep its reservation for a day."""

STORE_AGAIN_S = 5.0
"""Wait before an answer that the ledger could not store, as on a full disk, is tried once more."""


class Postponed(Exception):
    """The item goes back to the ledger and is due again after `seconds`."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Caller:
    """Asks one judge for one run, from many threads. Callers may share a limiter."""

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        judge: Judge,
        settings: judge_sections.Judge,
        limits: Limits,
        *,
        limiter: Limiter | None = None,
        worker: str = "",
    ) -> None:
        """Raises `UsageError` for a budget that cannot be kept."""
        self.ledger, self.run_id, self.judge, self.limits, self.worker = ledger, run_id, judge, limits, worker
        self.concurrency, self.max_wait_s = settings.concurrency, settings.max_wait_s
        self.price = price_within(settings, limits) if judge.is_llm else prices.FREE
        self.limiter = limiter or LocalLimiter.of(settings)
        self.breaker = Breaker(ledger, run_id, judge.name, worker)
        self.watch = ServerWatch(ledger, run_id, settings, worker)
        self._error_kind, self._same_errors = "", 0
        """The kind of the last error, and how often it occurred in a row. Stays as it is once the run must stop."""
        self._waiting_since: float | None = None
        """Monotonic time of the first `MustWait` since the last reply."""
        self._has_answered = False
        """Whether the judge has answered any question of this run here."""
        self._refused_alone: set[str] = set()
        """Keys of questions that the provider refuses while it answers others."""
        self._health = threading.Lock()
        """Guards the three above."""
        self._asking = threading.Condition()
        self._asked: set[str] = set()
        """Keys of the questions that threads are asking now, guarded by `_asking`."""
        self._ledger_error: LedgerFailed | None = None
        """Why the ledger could not store an answer, until it can."""
        self._text_hashes: dict[str, str] = {}
        """Hashes of the system prompts that are stored already."""

    def ask(
        self,
        prompt: Prompt,
        parse: Callable[[str], T],
        job: Job,
        repeat: int,
        on_settled: OnSettled[T] | None = None,
    ) -> Answer[T]:
        """The answer to `prompt`, as `parse` reads it, which raises `ReplyUnusable`. `on_settled` is called before it is committed.

        Raises `Postponed` if the provider requests a long pause or another worker is asking the same question, `ProviderStopped`,
        `BudgetExceeded`, `budgets.NotRunning` if the run was stopped, and `Aborted` after `abort()`.
        """
        key = call_key(self.judge, prompt, repeat)
        with self._exclusive(key):
            before: Callable[[Connection], None] | None = None
            answer = free_answer(self.ledger, self.run_id, self.judge, prompt, parse, repeat)
            if answer is not None:
                before = partial(self._keep, job=job, answer=answer)
            else:
                if not job.stage.startswith("probe"):  # a probe's questions fit anywhere
                    self.watch.check_context(prompt)
                attempts = Attempts(self, prompt, parse, key, job, on_settled)
                try:
                    try:
                        return attempts.answer()
                    except MustWait as error:
                        raise self._pause(error, key) from None
                except ItemFailed as error:
                    self._count_error(str(error), error.reason)
                    answer = Answer(None, Outcome(error.reason), str(error), key)
                    before = partial(self.breaker.hold, job=job)
                except MustStop as error:
                    raise ProviderStopped(f"{self.judge.name}: {error}") from None
                except LongPause as pause:
                    raise Postponed(str(pause), pause.seconds) from None
            conclude(self.ledger, answer, on_settled, before)
            return answer

    def _keep(self, tx: Connection, job: Job, answer: Answer[T]) -> None:
        """Hold an unusable answer that was in the ledger. Raises `Postponed` if a stop has withdrawn it since it was read."""
        if answer.outcome is Outcome.SCORED or answer.call_key is None or not self.judge.is_llm:
            return
        self.breaker.hold(tx, job)
        if calls.find_answer(tx, self.run_id, answer.call_key) is None:
            raise Postponed("the question's first answer was withdrawn", 0.0)

    @contextmanager
    def _exclusive(self, key: str) -> Iterator[None]:
        """Block other threads with the same question, which then find its answer in the ledger."""
        with self._asking:
            self._asking.wait_for(lambda: key not in self._asked)
            self._asked.add(key)
        try:
            yield
        finally:
            with self._asking:
                self._asked.remove(key)
                self._asking.notify_all()

    def _pause(self, error: MustWait, key: str) -> Postponed | ProviderStopped | ItemFailed:
        """Pause all callers and postpone the item, or stop the run if its waits since the last reply exceed `judge.max_wait_s`.

        A question that is refused while others are answered pauses nobody else, and fails after `ITEM_REFUSALS`. So do the last
        questions of a run instead of stopping it.
        """
        now, seconds = time.monotonic(), max(error.retry_after_s or 0.0, MIN_PAUSE_S)
        with self._health:
            self._waiting_since = self._waiting_since or now
            too_long = now + seconds - self._waiting_since > self.max_wait_s
        with self.ledger.read() as tx:
            refusals = calls.refusals_alone(tx, self.run_id, key, self.judge.name)
            last = too_long and jobs.are_few_questions_left(tx, self.run_id, LAST_QUESTIONS)
        if refusals >= ITEM_REFUSALS:
            return ItemFailed(f"{error} ({refusals} attempts, while other questions were answered)")
        if last and self._has_answered:
            return ItemFailed(
                f"{error} (for longer than judge.max_wait_s = {self.max_wait_s:g} s, as one of the last questions)"
            )
        if too_long:
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
            return ProviderStopped(
                f"{self.judge.name}: {error}: the provider asks for a pause until {until}, longer than judge.max_wait_s ="
                f" {self.max_wait_s:g} allows: run the same command then, or raise it"
            )
        if refusals:
            self._refused_alone.add(key)
        else:
            self.limiter.pause(seconds)
        return Postponed(str(error), seconds)

    def pause_others(self, key: str, seconds: float) -> None:
        """Pause all callers, unless the provider refuses this question alone."""
        if key not in self._refused_alone:
            self.limiter.pause(seconds)

    def abort(self) -> None:
        """Wake every thread that waits here; it raises `Aborted`."""
        self.limiter.abort()

    def reset(self) -> None:
        """Admit calls again after `abort`."""
        self.limiter.reset()

    def admit(self, prompt: Prompt, key: str, job: Job) -> AdmittedCall:
        """Wait for the first replies, the limiter and the budget, and record the call before it is made.

        Raises `Postponed`, `BudgetExceeded`, `LongPause`, `Aborted`, `budgets.NotRunning` and `LedgerFailed`.
        """
        bound = input_bound(prompt)
        reserved = prices.max_cost(bound, prompt.max_tokens, self.price) or 0.0
        month = budgets.month_of(self.limits)
        opening = calls.NewCall(self.run_id, job.job_key, key, self.judge.name, reserved, self.worker, month)
        system_hash = self._stored_text(prompt.system)
        deadline = time.monotonic() + BUDGET_PATIENCE_S
        while True:
            if self._ledger_error is not None:
                raise LedgerFailed(str(self._ledger_error))
            self.ledger.keep_room()
            self.breaker.wait(job, lambda: self.limiter.aborted)
            # Unlike the budget, the rate limit needs no upper bound: about three bytes make a token, and settling corrects it.
            admission = self.limiter.acquire(bound // 3, prompt.max_tokens)
            try:
                with self.ledger.write() as tx:
                    call_id = calls.begin(tx, opening, prompt, system_hash)
                    if call_id is None:
                        raise Postponed("another worker is asking the same question", ASKED_ELSEWHERE_S)
                    budgets.reserve(tx, self.run_id, reserved, self.limits, month)
                    self.breaker.admit(tx, job)
                return AdmittedCall(call_id, opening, admission)
            except BaseException as error:
                # Whatever happened, the place in the limiter is free again; a shortfall or a conflict is tried again.
                self.limiter.settle(admission, CallOutcome.unused())
                if isinstance(error, BudgetShortfall):
                    self._wait_for_budget(error, deadline)
                elif isinstance(error, NotRunning):
                    raise self.breaker.stopped(str(error)) from None
                elif not isinstance(error, (TransactionConflict, Full)):
                    raise

    def _stored_text(self, text: str) -> str:
        """The hash of a system prompt, which is stored when it is first used."""
        if text not in self._text_hashes:
            with self.ledger.write() as tx:
                text_hash = calls.store_text(tx, text)
            # Only now: until the commit, other threads' calls could not refer to the text.
            self._text_hashes[text] = text_hash
        return self._text_hashes[text]

    def _wait_for_budget(self, short: BudgetShortfall, deadline: float) -> None:
        """Wait for calls in flight to return part of what they reserved; if there are none, the budget is exhausted.

        Raises `BudgetExceeded`, `Postponed` after `deadline`, and `Aborted`.
        """
        if self.limiter.aborted:
            raise Aborted
        if not short.may_recover:
            raise budget_error(short)
        if time.monotonic() > deadline:
            raise Postponed(f"the budget of {short.scope} is reserved by calls in flight", BUDGET_PATIENCE_S)
        self.limiter.sleep(BUDGET_POLL_S)

    def store(self, settlement: Settlement, after: AfterReply | None) -> None:
        """Close a call. If the ledger fails, no further call is admitted, and the answer is kept for one more try.

        Raises `LedgerFailed`, and what `settlement.settle` raises.
        """
        try:
            settle(self.ledger, settlement, after)
        except LedgerFailed as error:
            self._ledger_error = error
            time.sleep(STORE_AGAIN_S)
            settle(self.ledger, settlement, after)
            self._ledger_error = None

    def note_success(self) -> None:
        """The provider answered: forget earlier waits and errors."""
        with self._health:
            self._waiting_since, self._has_answered = None, True
            if self._same_errors < SAME_ERROR_LIMIT:
                self._same_errors = 0

    @property
    def suspect_error_kind(self) -> str | None:
        """The kind of error that stopped the run, whose cause is not the items that ended in it; None if no error did."""
        return self._error_kind if self._same_errors >= SAME_ERROR_LIMIT else None

    def _count_error(self, message: str, reason: str) -> None:
        """Raises `ProviderStopped` at the `SAME_ERROR_LIMIT`th error of one kind in a row, and at every later one."""
        if reason != Outcome.PROVIDER_ERROR:
            return
        kind = error_kind(message)
        with self._health:
            if self._same_errors < SAME_ERROR_LIMIT:
                self._same_errors = self._same_errors + 1 if kind == self._error_kind else 1
                self._error_kind = kind
            if self._same_errors >= SAME_ERROR_LIMIT:
                raise ProviderStopped(
                    f"{self.judge.name}: the same error {SAME_ERROR_LIMIT} times in a row: {message}: fix its cause and"
                    " run the same command"
                )
