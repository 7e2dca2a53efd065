"""The rules of admission as a pure state machine: what is asked for and when decides every answer.

It knows neither threads nor clocks nor networks. `shared_limits.lua` holds the same rules for a fleet, and a test puts
both through the same operations: a change here is a change there. All times are whole microseconds, so that both
compute alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from autointerp.messages import RateLimits

SECOND = 1_000_000
WINDOW_S = 62.0
"""A minute, and the time between a call's admission and its arrival: no 60 s at the provider hold more than the ceiling."""
FIRST_CONCURRENCY = 16
"""Calls in flight at once before anything is known of the provider."""
SETBACK = 4
"""Successes that a server error takes back: nothing grows where one call in five fails."""
SLOT_POLL = SECOND // 10
"""How soon to ask again where all slots are taken: nobody tells a process what others give back."""
LONGEST_WAIT = 5 * SECOND
"""Whoever waits longer asks again meanwhile, and so hears of settled calls, of pauses, and of a lost state."""
OVERDUE = 2 * SECOND
"""A worker that waits longer than this goes before all others; one that is late by as much no longer waits."""
HANDOVER = SECOND // 50

Ending = Literal["ok", "limited", "failed", "unused"]
"""How a call ended: answered; refused by a 429 or an overload; any other failure; never made."""


@dataclass(frozen=True)
class Ceilings:
    """What the asker allows: calls in flight at once, and requests and tokens in any minute (None: no limit)."""

    concurrency: int
    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Verdict:
    """`admitted` at `moment`; or, if not, `wait` microseconds until it is worth asking again. `paused`: nobody is."""

    admitted: bool
    moment: int
    wait: int = 0
    paused: bool = False


@dataclass
class _Held:
    """A call within the window: when it was admitted, and the tokens that it holds."""

    moment: int
    input_tokens: int
    output_tokens: int


class Window:
    """The calls of the last minute and those in flight, exactly.

    In any minute at most the ceilings are admitted; the burst is the ceiling itself. A call larger than a ceiling of
    tokens is admitted alone, when the window is empty, for it could never be otherwise. How many calls may be in flight
    adapts: it doubles with each round of successes until the first 429, then grows by a twentieth of its ceiling, both
    only while it is made use of, and a 429 cuts it by three tenths.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._length = round(window_s * SECOND)
        self.now = 0
        self.limit = FIRST_CONCURRENCY
        self._calls: dict[str, _Held] = {}
        self._slots: dict[str, int] = {}
        """Calls in flight, and when each is given up."""
        self._waiting: dict[str, tuple[int, int]] = {}
        """Workers whose first caller waits: since when, and until when it sleeps."""
        self._input = self._output = 0
        self._paused_until = 0
        self._steep, self._good, self._peak, self._cut_at = True, 0, 0, -1
        self._told = RateLimits()

    def seed(self, calls: Iterable[tuple[int, int, int]]) -> None:
        """Count calls made before this window was: age, input and output tokens of each."""
        for number, (age, input_tokens, output_tokens) in enumerate(sorted(calls, reverse=True)):
            self._hold(f"seed/{number}", _Held(-age, input_tokens, output_tokens))
        self._advance(self.now)

    def ask(
        self, now: int, call_id: str, input_tokens: int, output_tokens: int, ceilings: Ceilings, timeout: int
    ) -> Verdict:
        """Admit the call `worker/number`, or say how long to wait. Its slot is given up after `timeout`."""
        self._advance(now)
        for other in [other for other, until in self._slots.items() if until <= self.now]:
            del self._slots[other]
        if call_id in self._slots:
            return Verdict(True, self.now)
        if self._paused_until > self.now:
            return Verdict(False, self.now, self._paused_until - self.now, paused=True)
        worker = call_id.partition("/")[0]
        wait = max(
            SLOT_POLL if len(self._slots) >= min(self.limit, ceilings.concurrency) else 0,
            self._room_in(input_tokens, output_tokens, ceilings),
            self._turn_in(worker),
        )
        if wait:
            wait = min(wait, LONGEST_WAIT)
            since, _ = self._waiting.get(worker, (self.now, 0))
            self._waiting[worker] = since, self.now + wait
            return Verdict(False, self.now, wait)
        self._waiting.pop(worker, None)
        self._hold(call_id, _Held(self.now, input_tokens, output_tokens))
        self._slots[call_id] = self.now + timeout
        self._peak = max(self._peak, len(self._slots))
        return Verdict(True, self.now)

    def settle(
        self,
        now: int,
        call_id: str,
        moment: int,
        ending: Ending,
        input_tokens: int,
        output_tokens: int,
        told: RateLimits,
        ceiling: int,
    ) -> None:
        """Replace what the call, admitted at `moment`, reserved by what it used, and learn from how it ended."""
        self._advance(now)
        held = self._calls.get(call_id)
        if held is not None:
            self._input += input_tokens - held.input_tokens
            self._output += output_tokens - held.output_tokens
            held.input_tokens, held.output_tokens = input_tokens, output_tokens
            if ending == "unused":
                self._drop(call_id)
        self._told = RateLimits(
            told.requests or self._told.requests,
            told.input_tokens or self._told.input_tokens,
            told.output_tokens or self._told.output_tokens,
        )
        if self._slots.pop(call_id, None) is not None:
            self._learn(ending, moment, ceiling)

    def pause(self, now: int, length: int) -> None:
        """Admit nobody for `length`. A shorter pause never ends a longer one."""
        self._advance(now)
        self._paused_until = max(self._paused_until, self.now + length)

    def forget(self, worker: str) -> None:
        """Free the slots of a worker that died. Its calls stay in the window."""
        for call_id in [call_id for call_id in self._slots if call_id.startswith(f"{worker}/")]:
            del self._slots[call_id]
        self._waiting.pop(worker, None)

    def _advance(self, now: int) -> None:
        self.now = max(self.now, now)
        while self._calls:
            oldest = next(iter(self._calls))
            if self._calls[oldest].moment + self._length > self.now:
                break
            self._drop(oldest)

    def _hold(self, call_id: str, held: _Held) -> None:
        self._calls[call_id] = held
        self._input += held.input_tokens
        self._output += held.output_tokens

    def _drop(self, call_id: str) -> None:
        held = self._calls.pop(call_id)
        self._input -= held.input_tokens
        self._output -= held.output_tokens

    def _room_in(self, input_tokens: int, output_tokens: int, ceilings: Ceilings) -> int:
        """Microseconds until the call fits into the window; 0 if it fits."""
        most_requests = _lower(ceilings.requests, self._told.requests)
        most_input = _lower(ceilings.input_tokens, self._told.input_tokens)
        most_output = _lower(ceilings.output_tokens, self._told.output_tokens)
        count, held_input, held_output = len(self._calls), self._input + input_tokens, self._output + output_tokens
        wait = 0
        for call in self._calls.values():
            if count < most_requests and held_input <= most_input and held_output <= most_output:
                break
            wait = call.moment + self._length - self.now
            count, held_input, held_output = count - 1, held_input - call.input_tokens, held_output - call.output_tokens
        return wait

    def _turn_in(self, worker: str) -> int:
        """Microseconds that workers that have waited for long, and for longer than this one, need to go first."""
        mine, _ = self._waiting.get(worker, (self.now, 0))
        wait = 0
        for other, (since, until) in list(self._waiting.items()):
            if until + OVERDUE <= self.now:
                del self._waiting[other]
            elif since + OVERDUE <= self.now and since < mine:
                wait = max(wait, until - self.now, HANDOVER)
        return wait

    def _learn(self, ending: Ending, moment: int, ceiling: int) -> None:
        """Calls admitted before the last cut say nothing of what came after it."""
        if ending == "failed":
            self._good = max(0, self._good - SETBACK)
        elif ending == "limited" and moment > self._cut_at:
            self.limit = max(1, min(self.limit, ceiling) * 7 // 10)
            self._steep, self._cut_at = False, self.now
            self._next_round()
        elif ending == "ok" and moment > self._cut_at:
            self._good += 1
            if self._good >= self.limit:
                if self._peak * 5 >= self.limit * 4:
                    step = self.limit if self._steep else max(1, ceiling // 20)
                    self.limit = max(self.limit, min(ceiling, self.limit + step))
                self._next_round()

    def _next_round(self) -> None:
        self._good, self._peak = 0, len(self._slots)


def _lower(first: int | None, second: int | None) -> float:
    """The lower of two ceilings, either of which may be missing."""
    return min(value if value is not None else float("inf") for value in (first, second))
