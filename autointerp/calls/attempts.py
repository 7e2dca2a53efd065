"""The attempts at one question: each is recorded in the ledger before it is made and after it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, OnSettled, read_reply, storable
from autointerp.calls.breaker import Breaker, FirstRepliesUnusable
from autointerp.calls.server_watch import ServerWatch
from autointerp.calls.settlement import AfterReply, Settlement
from autointerp.errors import AutointerpError
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry
from autointerp.judges.limits.limiter import Admission, CallOutcome, Limiter
from autointerp.judges.retry import with_retries
from autointerp.ledger import calls
from autointerp.ledger.budgets import NotRunning
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt, Reply, Usage
from autointerp.records import Outcome

T = TypeVar("T")


class Asking(Protocol):
    """What attempts need of the caller that makes them."""

    run_id: str
    judge: Judge
    price: prices.Price | None
    limiter: Limiter
    breaker: Breaker
    watch: ServerWatch

    def admit(self, prompt: Prompt, key: str, job: Job) -> AdmittedCall: ...

    def store(self, settlement: Settlement, after: AfterReply | None) -> None: ...

    def pause_others(self, key: str, seconds: float) -> None: ...

    def note_success(self) -> None: ...


class AdmittedCall:
    """A call that may be made now: its row in the ledger, its reservation, and its place in the limiter."""

    def __init__(self, call_id: int, opening: calls.NewCall, admission: Admission) -> None:
        self.call_id, self.opening, self.admission = call_id, opening, admission
        self.started = time.monotonic()


class Attempts(Generic[T]):
    """The attempts at one question, each recorded before it is made and after it ended."""

    def __init__(
        self,
        caller: Asking,
        prompt: Prompt,
        parse: Callable[[str], T],
        key: str,
        job: Job,
        on_settled: OnSettled[T] | None,
    ) -> None:
        self.caller, self.prompt, self.parse, self.key, self.job = caller, prompt, parse, key, job
        self.on_settled = on_settled
        self._answer: Answer[T] | None = None
        self._stop: FirstRepliesUnusable | NotRunning | None = None

    def answer(self) -> Answer[T]:
        """The answer of the first attempt that ends in a reply. Raises what `with_retries` and `Caller.admit` raise."""
        limiter = self.caller.limiter
        pause = partial(self.caller.pause_others, self.key)
        with_retries(self._once, on_attempt=self._ended, pause=pause, sleep=limiter.sleep)
        assert self._answer is not None
        self.caller.note_success()
        return self._answer

    def _once(self) -> Reply:
        self._call = self.caller.admit(self.prompt, self.key, self.job)
        try:
            return self.caller.judge.ask(self.prompt)
        except JudgeError:
            raise
        except Exception as error:
            failed = f"{self.caller.judge.name} raised an unexpected error: {type(error).__name__}: {error}"
            self._ended(0, MayRetry(failed, usage=Usage(known=False)))
            raise AutointerpError(f"{failed}: please report it; run the same command to continue") from error

    def _ended(self, _number: int, outcome: Reply | JudgeError) -> None:
        """Record how an attempt ended. A failed call that the provider may bill nevertheless counts as lost."""
        usage = outcome.usage or Usage()
        reply: Reply | None = None
        if isinstance(outcome, Reply):
            reply = storable(outcome)
            self._answer = read_reply(reply, self.parse, self.key)
            state, reason = self._answer.outcome.value, self._answer.reason
        else:
            state, reason = calls.ERROR if usage.known else calls.LOST, str(outcome)
            if isinstance(outcome, ItemFailed) and outcome.reason != Outcome.PROVIDER_ERROR:
                state = outcome.reason
        call = self._call
        settlement = Settlement(
            self.caller.run_id,
            call.call_id,
            call.opening.reserved_usd,
            call.opening.month,
            state,
            reason,
            reply,
            usage,
            prices.cost(usage, self.caller.price) if reply or outcome.usage else 0.0,
            time.monotonic() - call.started,
        )
        try:
            self.caller.store(settlement, AfterReply(self._follow_up, self._stands) if reply else None)
        finally:
            self.caller.limiter.settle(call.admission, CallOutcome.of(outcome))
        self.caller.watch.note(self.prompt, outcome)
        if self._stop is not None:
            raise self._stop
        if state == calls.SCORED:
            self.caller.breaker.note_usable(self.job)
        elif state != calls.ERROR or usage.output_tokens:
            self.caller.breaker.note_unusable(self.job)

    def _stands(self, tx: Connection) -> bool:
        """Whether the answer counts; an unusable one that comes after a stop at the first replies is withdrawn with them."""
        assert self._answer is not None
        self._stop = None
        if self._answer.outcome is Outcome.SCORED:
            return True
        try:
            self.caller.breaker.hold(tx, self.job)
        except (FirstRepliesUnusable, NotRunning) as stop:
            calls.withdraw(tx, self._call.call_id)
            self._stop = stop
            return False
        return True

    def _follow_up(self, tx: Connection) -> None:
        assert self._answer is not None
        if self.on_settled is not None:
            self.on_settled(tx, self._answer)
