"""Asks a judge on behalf of a run: known answers are reused, the rest is admitted, paid for, attempted and written down.

ledger (answered before?) -> limiter -> budget -> one attempt -> ledger, and again after a passing failure
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, Conclude, call_key, free_answer, read, storable
from autointerp.errors import AutointerpError, BudgetExceeded, Collided, ProviderStopped, UsageError
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.limits.limiter import Aborted, Admission, Held, Limiter, LocalLimiter, Settled
from autointerp.judges.registry import check_asking, check_transport
from autointerp.judges.retry import attempt
from autointerp.ledger import budgets, calls
from autointerp.ledger.budgets import Limits, Short
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.judgements import kind_of_error
from autointerp.messages import Prompt, Reply, Usage
from autointerp.records import Outcome
from autointerp.settings import Settings
from autointerp.spec import sections
from autointerp.spec.spec import Spec

T = TypeVar("T")
SAME_ERROR_LIMIT = 10
"""So many items in a row with the same error mean that the error is not the items'."""
SHORTEST_PAUSE_S = 30.0
ASKED_ELSEWHERE_S = 5.0
"""After this long a question that another worker was asking is looked up again."""
MONEY_WAIT_S, MONEY_PATIENCE_S = 0.5, 10.0
"""Between looks at a budget that others hold, and until the item makes way: a batch may hold its money for a day."""
OVERHEAD_TOKENS = 400
"""Tokens that a provider may add around a prompt, for roles and for the schema."""


class Postponed(Exception):
    """The item must wait for `seconds`, and goes back to the ledger for so long."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Caller:
    """One judge, as one run asks it from many threads; others may share its limiter."""

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        judge: Judge,
        settings: sections.Judge,
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
        self.last_error, self._alike = "", 0
        self._waiting_since: float | None = None
        self._health = threading.Lock()
        self._asking = threading.Condition()
        self._asked: set[str] = set()
        self._texts: dict[str, str] = {}

    def ask(
        self,
        prompt: Prompt,
        parse: Callable[[str], T],
        job: Job,
        repeat: int,
        conclude: Conclude[T] | None = None,
    ) -> Answer[T]:
        """The answer to `prompt`, read by `parse`, which raises `ReplyUnusable`; `conclude` is told of it before it is committed.

        Raises `Postponed` when the provider asks for a longer pause or another worker asks the same, `ProviderStopped`,
        `BudgetExceeded`, `budgets.NotRunning` when the run was stopped, and `Aborted` after `abort()`.
        """
        key = call_key(self.judge, prompt, repeat)
        with self._alone(key):
            answer = free_answer(self.ledger, self.run_id, self.judge, prompt, parse, repeat)
            if answer is None:
                attempts = _Attempts(self, prompt, parse, key, job.job_key, conclude)
                try:
                    return attempts.answer()
                except ItemFailed as error:
                    self._count_alike(str(error), error.reason)
                    answer = Answer(None, Outcome(error.reason), str(error), key)
                except MustStop as error:
                    raise ProviderStopped(f"{self.judge.name}: {error}") from None
                except MustWait as error:
                    raise self._pause(error) from None
                except Held as held:
                    raise Postponed(str(held), held.seconds) from None
            if conclude is not None:
                with self.ledger.write() as tx:
                    conclude(tx, answer)
            return answer

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold back other threads with the same question: they find its answer in the ledger afterwards."""
        with self._asking:
            self._asking.wait_for(lambda: key not in self._asked)
            self._asked.add(key)
        try:
            yield
        finally:
            with self._asking:
                self._asked.remove(key)
                self._asking.notify_all()

    def _pause(self, error: MustWait) -> Postponed | ProviderStopped:
        """Hold everybody and postpone the item, unless that adds up to more than `judge.max_wait_s` since the last reply."""
        now, seconds = time.monotonic(), max(error.retry_after_s or 0.0, SHORTEST_PAUSE_S)
        with self._health:
            self._waiting_since = self._waiting_since or now
            too_long = now + seconds - self._waiting_since > self.max_wait_s
        if too_long:
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
            return ProviderStopped(
                f"{self.judge.name}: {error}: a pause until {until} is asked for, longer than judge.max_wait_s ="
                f" {self.max_wait_s:g} allows: run the same command then, or raise it"
            )
        self.limiter.pause(seconds)
        return Postponed(str(error), seconds)

    def abort(self) -> None:
        """Wake every thread that waits here: it raises `Aborted`."""
        self.limiter.abort()

    def fresh(self) -> None:
        """Admit again after `abort`."""
        self.limiter.fresh()

    def admit(self, prompt: Prompt, key: str, job_key: str) -> _Admitted:
        """Wait for the limits, set the money aside, and write the call down."""
        bound = input_bound(prompt)
        reserved = prices.most(bound, prompt.max_tokens, self.price) or 0.0
        month = budgets.month_of(self.limits)
        opening = calls.Opening(self.run_id, job_key, key, self.judge.name, reserved, self.worker, month)
        system_hash = self._kept(prompt.system)
        patience = time.monotonic() + MONEY_PATIENCE_S
        while True:
            admission = self.limiter.acquire(bound // 3, prompt.max_tokens)
            try:
                with self.ledger.write() as tx:
                    call_id = calls.begin(tx, opening, prompt, system_hash)
                    if call_id is None:
                        raise Postponed("another worker is asking the same", ASKED_ELSEWHERE_S)
                    budgets.reserve(tx, self.run_id, reserved, self.limits, month)
                return _Admitted(call_id, opening, admission)
            except BaseException as error:
                self.limiter.settle(admission, Settled.unused())
                if isinstance(error, Short):
                    self._wait_for_money(error, patience)
                elif not isinstance(error, Collided):
                    raise

    def _kept(self, text: str) -> str:
        """The hash of a system prompt, stored the first time that it is used."""
        if text not in self._texts:
            with self.ledger.write() as tx:
                self._texts[text] = calls.keep_text(tx, text)
        return self._texts[text]

    def _wait_for_money(self, short: Short, patience: float) -> None:
        """Other calls in flight may give back what they reserved; when there are none, the budget is at its end."""
        if self.limiter.aborted:
            raise Aborted
        if not short.may_ease:
            raise budget_error(short)
        if time.monotonic() > patience:
            raise Postponed(f"the money of {short.scope} is held by calls in flight", MONEY_PATIENCE_S)
        self.limiter.sleep(MONEY_WAIT_S)

    def succeeded(self) -> None:
        """The provider answers: what waited and failed before is behind us."""
        with self._health:
            self._waiting_since = None
            if self._alike < SAME_ERROR_LIMIT:
                self._alike = 0

    @property
    def doubted(self) -> str | None:
        """The kind of error that stopped the run, which was not the fault of the items that ended in it; None: no such."""
        return self.last_error if self._alike >= SAME_ERROR_LIMIT else None

    def _count_alike(self, message: str, reason: str) -> None:
        if reason != Outcome.PROVIDER_ERROR:
            return
        kind = kind_of_error(message)
        with self._health:
            if self._alike < SAME_ERROR_LIMIT:
                self._alike = self._alike + 1 if kind == self.last_error else 1
                self.last_error = kind
            if self._alike >= SAME_ERROR_LIMIT:
                raise ProviderStopped(
                    f"{self.judge.name}: the same error {SAME_ERROR_LIMIT} times in a row: {message}: mend its cause and"
                    " run the same command"
                )


class _Admitted:
    """A call that may be made: its row, what is set aside for it, and its place in the limits."""

    def __init__(self, call_id: int, opening: calls.Opening, admission: Admission) -> None:
        self.call_id, self.opening, self.admission = call_id, opening, admission
        self.started = time.monotonic()


class _Attempts(Generic[T]):
    """The attempts at one question, each written down before it is made and after it ended."""

    def __init__(
        self,
        caller: Caller,
        prompt: Prompt,
        parse: Callable[[str], T],
        key: str,
        job_key: str,
        conclude: Conclude[T] | None,
    ) -> None:
        self.caller, self.prompt, self.parse, self.key, self.job_key = caller, prompt, parse, key, job_key
        self.conclude = conclude
        self._answer: Answer[T] | None = None

    def answer(self) -> Answer[T]:
        limiter = self.caller.limiter
        attempt(self._once, on_attempt=self._ended, pause=limiter.pause, sleep=limiter.sleep)
        assert self._answer is not None
        self.caller.succeeded()
        return self._answer

    def _once(self) -> Reply:
        self._call = self.caller.admit(self.prompt, self.key, self.job_key)
        try:
            return self.caller.judge.ask(self.prompt)
        except JudgeError:
            raise
        except Exception as error:
            failed = f"{self.caller.judge.name} failed in a way nobody foresaw: {type(error).__name__}: {error}"
            self._ended(0, MayRetry(failed, usage=Usage(known=False)))
            raise AutointerpError(f"{failed}: please report it; run the same command to continue") from error

    def _ended(self, _number: int, outcome: Reply | JudgeError) -> None:
        """Write down how an attempt ended. A failure after which the provider may bill all the same is a lost call."""
        usage = outcome.usage or Usage()
        reply: Reply | None = None
        if isinstance(outcome, Reply):
            reply = storable(outcome)
            self._answer = read(reply, self.parse, self.key)
            state, reason = self._answer.outcome.value, self._answer.reason
        else:
            state, reason = calls.ERROR if usage.known else calls.LOST, str(outcome)
            if isinstance(outcome, ItemFailed) and outcome.reason != Outcome.PROVIDER_ERROR:
                state = outcome.reason
        call, duration_s = self._call, time.monotonic() - self._call.started

        def settle(tx: Connection) -> None:
            calls.end(
                tx,
                call.call_id,
                run_id=self.caller.run_id,
                state=state,
                reason=reason,
                reply=reply,
                usage=usage,
                cost_usd=prices.cost(usage, self.caller.price) if reply or outcome.usage else 0.0,
                reserved_usd=call.opening.reserved_usd,
                duration_s=duration_s,
                month=call.opening.month,
            )
            if self.conclude is not None and reply is not None and self._answer is not None:
                self.conclude(tx, self._answer)

        try:
            self.caller.ledger.insist(settle)
        finally:
            self.caller.limiter.settle(call.admission, Settled.of(outcome))


def budget_error(short: Short) -> BudgetExceeded:
    """A budget's end, for whoever has to raise it."""
    name = "budget.usd" if short.scope.startswith("run ") else f"the budget of {short.scope}"
    more = f" and up to ${short.lost:.4f} for replies that were lost" if short.lost else ""
    return BudgetExceeded(
        f"{name} = {short.limit:g} could be exceeded by the next call: ${short.spent:.4f} spent{more}, up to"
        f" ${short.needed:.4f} needed; raise it and run the same command to continue"
    )


def price_within(settings: sections.Judge, limits: Limits) -> prices.Price | None:
    """The price of a judge, None where it is unknown. Raises `UsageError` for an unknown price under a budget."""
    price = prices.price_of(settings.model, settings)
    limit, name = (limits.run, "budget.usd") if limits.run is not None else (limits.month, "AUTOINTERP_MONTH_USD")
    if limit is not None and price is None:
        raise UsageError(
            f"{name} = {limit:g} cannot be kept: the price of {settings.model} is unknown; give"
            " judge.input_usd_per_mtok and judge.output_usd_per_mtok, or remove the budget"
        )
    return price


def input_bound(prompt: Prompt) -> int:
    """An upper bound of a prompt's tokens: no tokenizer makes more tokens than there are bytes."""
    schema = json.dumps(dict(prompt.schema))
    return sum(len(text.encode("utf-8", "replace")) for text in (prompt.system, prompt.user, schema)) + OVERHEAD_TOKENS


def check_judges(spec: Spec) -> None:
    """Raise `UsageError` where a judge of the spec cannot be asked as the spec wants: transport, probabilities, budget."""
    check_asking(spec)
    for settings in spec.judges:
        price_within(settings, run_limits(spec))
        check_transport(settings)


def run_limits(spec: Spec) -> Limits:
    """What a run may spend: its own budget, and that of the calendar month."""
    return Limits(spec.budget.usd, Settings.from_env().month_usd)
