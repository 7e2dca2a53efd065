"""Asks a judge on behalf of a run: known answers are reused, the rest is admitted, paid for, attempted and written down.

ledger (answered before?) -> limiter -> budget -> one attempt -> ledger, and again after a passing failure
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

from autointerp import spec as spec_
from autointerp.answer import Answer, call_key, free_answer, read, storable
from autointerp.errors import AutointerpError, BudgetExceeded, ProviderStopped, UsageError
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustStop, MustWait, Prompt, Reply, Usage
from autointerp.judges.limits import Aborted, Admission, Limiter
from autointerp.judges.retry import attempt
from autointerp.ledger import Ledger, calls, runs
from autointerp.records import Outcome

T = TypeVar("T")
SAME_ERROR_LIMIT = 10
"""So many items in a row with the same error mean that the error is not the items'."""
SHORTEST_PAUSE_S = 30.0
OVERHEAD_TOKENS = 400
"""Tokens that a provider may add around a prompt, for roles and for the schema."""


class Postponed(Exception):
    """The item must wait until `not_before`, as seconds since the epoch."""

    def __init__(self, message: str, not_before: float) -> None:
        super().__init__(message)
        self.not_before = not_before


class Caller:
    """One judge, as one run asks it from many threads."""

    def __init__(
        self, ledger: Ledger, run_id: str, judge: Judge, settings: spec_.Judge, budget_usd: float | None
    ) -> None:
        """Raises `UsageError` for a budget that cannot be kept."""
        self.ledger, self.run_id, self.judge, self.budget_usd = ledger, run_id, judge, budget_usd
        self.concurrency, self.max_wait_s = settings.concurrency, settings.max_wait_s
        self.price = price_within(settings, budget_usd) if judge.is_llm else prices.FREE
        self._settings = settings
        self._limiter = Limiter(settings.requests_per_minute, settings.tokens_per_minute)
        self._settled = threading.Condition()
        self._in_flight = 0
        self._asking = threading.Condition()
        self._asked: set[str] = set()
        self._waiting_since: float | None = None
        self._last_error, self._alike = "", 0
        self._failed: dict[str, list[str]] = {}
        """Keys of the jobs that ended in a provider's error, by its kind."""

    def ask(self, prompt: Prompt, parse: Callable[[str], T], *, job_key: str, repeat: int) -> Answer[T]:
        """The answer to `prompt`, read by `parse`, which raises `ReplyUnusable`.

        Raises `Postponed` when the provider asks for a longer pause, `ProviderStopped`, `BudgetExceeded`, and `Aborted` after
        `abort()`.
        """
        key = call_key(self.judge, prompt, repeat)
        with self._alone(key):
            free = free_answer(self.ledger, self.run_id, self.judge, prompt, parse, repeat)
            return free or self._answer(_Attempts(self, prompt, parse, key, job_key))

    def _answer(self, attempts: _Attempts[T]) -> Answer[T]:
        try:
            return attempts.answer()
        except ItemFailed as error:
            self._count_alike(attempts.job_key, str(error), error.reason)
            return Answer(None, Outcome(error.reason), str(error), attempts.key)
        except MustStop as error:
            raise ProviderStopped(f"{self.judge.name}: {error}") from None
        except MustWait as error:
            raise self._pause(error) from None

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold back others with the same question: they find its answer in the ledger afterwards."""
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
        now, seconds = time.time(), max(error.retry_after_s or 0.0, SHORTEST_PAUSE_S)
        with self._settled:
            self._waiting_since = self._waiting_since or now
            too_long = now + seconds - self._waiting_since > self.max_wait_s
        if too_long:
            until = time.strftime("%H:%M:%S", time.localtime(now + seconds))
            return ProviderStopped(
                f"{self.judge.name}: {error}: a pause until {until} is asked for, longer than judge.max_wait_s ="
                f" {self.max_wait_s:g} allows: run the same command then, or raise it"
            )
        self._limiter.pause(seconds)
        return Postponed(str(error), now + seconds)

    def abort(self) -> None:
        """Wake every thread that waits here: it raises `Aborted`."""
        self._limiter.abort()
        with self._settled:
            self._settled.notify_all()

    def fresh(self) -> None:
        """Admit again after `abort`."""
        self._limiter = Limiter(self._settings.requests_per_minute, self._settings.tokens_per_minute)

    def admit(self, prompt: Prompt, key: str, job_key: str) -> tuple[int, float, Admission]:
        """Wait for the limits, set the money aside, and write the call down. Returns its row, reservation and admission."""
        bound = input_bound(prompt)
        admission = self._limiter.acquire(bound // 3 + prompt.max_tokens)
        reserved = prices.most(bound, prompt.max_tokens, self.price) or 0.0
        while True:
            with self._settled:
                with self.ledger.write() as tx:
                    if runs.reserve(tx, self.run_id, reserved, self.budget_usd):
                        self._in_flight += 1
                        call_id = calls.begin(
                            tx,
                            run_id=self.run_id,
                            job_key=job_key,
                            call_key=key,
                            judge=self.judge.name,
                            prompt=prompt,
                            reserved_usd=reserved,
                        )
                        return call_id, reserved, admission
                    row = runs.get(tx, self.run_id)
                assert row is not None, self.run_id
                self._wait_for_money(row["spent_usd"], row["lost_usd"], reserved)

    def settle(self, admission: Admission, usage: Usage) -> None:
        """Give back what a call reserved and did not use."""
        used = usage.input_tokens + usage.output_tokens + usage.cache_write_tokens
        if used:
            self._limiter.settle(admission, used)
        with self._settled:
            self._in_flight -= 1
            self._settled.notify_all()

    def pause(self, seconds: float) -> None:
        """Hold everybody, as the provider asked."""
        self._limiter.pause(seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the run stops."""
        self._limiter.sleep(seconds)

    def succeeded(self) -> None:
        """The provider answers: what waited and failed before is behind us."""
        with self._settled:
            self._waiting_since = None
            if self._alike < SAME_ERROR_LIMIT:
                self._alike = 0

    @property
    def doubtful(self) -> Sequence[str]:
        """Keys of the jobs that ended in the error that stopped the run: the failure was not theirs."""
        return self._failed[self._last_error] if self._alike >= SAME_ERROR_LIMIT else ()

    def _wait_for_money(self, spent: float, lost: float, needed: float) -> None:
        """Other calls in flight may give back what they reserved; when there are none, the budget is at its end."""
        if self._limiter.aborted:
            raise Aborted
        if self._in_flight:
            self._settled.wait(timeout=1.0)
            return
        more = f" and up to ${lost:.4f} for replies that were lost" if lost else ""
        raise BudgetExceeded(
            f"budget.usd = {self.budget_usd:g} could be exceeded by the next call: ${spent:.4f} spent{more}, up to"
            f" ${needed:.4f} needed; raise it and run the same command to go on"
        )

    def _count_alike(self, job_key: str, message: str, reason: str) -> None:
        if reason != Outcome.PROVIDER_ERROR:
            return
        kind = re.sub(r"\b\w*\d\w*\b", "#", message)
        with self._settled:
            self._failed.setdefault(kind, []).append(job_key)
            if self._alike < SAME_ERROR_LIMIT:
                self._alike = self._alike + 1 if kind == self._last_error else 1
                self._last_error = kind
            if self._alike >= SAME_ERROR_LIMIT:
                raise ProviderStopped(
                    f"{self.judge.name}: the same error {SAME_ERROR_LIMIT} times in a row: {message}: mend its cause and"
                    " run the same command"
                )


class _Attempts(Generic[T]):
    """The attempts at one question, each written down before it is made and after it ended."""

    def __init__(self, caller: Caller, prompt: Prompt, parse: Callable[[str], T], key: str, job_key: str) -> None:
        self.caller, self.prompt, self.parse, self.key, self.job_key = caller, prompt, parse, key, job_key
        self._answer: Answer[T] | None = None

    def answer(self) -> Answer[T]:
        attempt(self._once, on_attempt=self._ended, pause=self.caller.pause, sleep=self.caller.sleep)
        assert self._answer is not None
        self.caller.succeeded()
        return self._answer

    def _once(self) -> Reply:
        self._call_id, self._reserved, self._admission = self.caller.admit(self.prompt, self.key, self.job_key)
        self._started = time.monotonic()
        try:
            return self.caller.judge.ask(self.prompt)
        except JudgeError:
            raise
        except Exception as error:
            failed = f"{self.caller.judge.name} failed in a way nobody foresaw: {type(error).__name__}: {error}"
            self._ended(0, MayRetry(failed, usage=Usage(known=False)))
            raise AutointerpError(f"{failed}: please report it; run the same command to go on") from error

    def _ended(self, _number: int, outcome: Reply | JudgeError) -> None:
        """Write down how an attempt ended. A failure after which the provider may bill all the same is a lost call."""
        usage = outcome.usage or Usage()
        reply: Reply | None = None
        if isinstance(outcome, Reply):
            reply = replace(outcome, text=storable(outcome.text))
            self._answer = read(reply, self.parse, self.key)
            state, reason = self._answer.outcome.value, self._answer.reason
        else:
            state, reason = calls.ERROR if usage.known else calls.LOST, str(outcome)
            if isinstance(outcome, ItemFailed) and outcome.reason != Outcome.PROVIDER_ERROR:
                state = outcome.reason
        try:
            with self.caller.ledger.write() as tx:
                calls.end(
                    tx,
                    self._call_id,
                    run_id=self.caller.run_id,
                    state=state,
                    reason=reason,
                    reply=reply,
                    usage=usage,
                    cost_usd=prices.cost(usage, self.caller.price) if reply or outcome.usage else 0.0,
                    reserved_usd=self._reserved,
                    duration_s=time.monotonic() - self._started,
                )
        finally:
            self.caller.settle(self._admission, usage)


def price_within(settings: spec_.Judge, budget_usd: float | None) -> prices.Price | None:
    """The price of a judge, None where it is unknown. Raises `UsageError` for an unknown price under a budget."""
    price = prices.price_of(settings.model, settings)
    if budget_usd is not None and price is None:
        raise UsageError(
            f"budget.usd = {budget_usd:g} cannot be kept: the price of {settings.model} is unknown; give"
            " judge.input_usd_per_mtok and judge.output_usd_per_mtok, or remove the budget"
        )
    return price


def input_bound(prompt: Prompt) -> int:
    """An upper bound of a prompt's tokens: no tokenizer makes more tokens than there are bytes."""
    schema = json.dumps(dict(prompt.schema))
    return sum(len(text.encode("utf-8", "replace")) for text in (prompt.system, prompt.user, schema)) + OVERHEAD_TOKENS
