"""The rules of admission as a pure state machine: each decision follows from the operations so far and their times.

It uses no threads, clocks or network. `redis_limiter.lua` implements the same rules for many processes, and a test runs both through the
same operations: change both together. All times are whole microseconds, so that both compute exactly the same.

Two things are limited:

1. The window: requests, input tokens and output tokens of all calls admitted within the last `WINDOW_S`. A call holds what it reserved
   until it is settled, and then what it used, until it leaves the window.
2. The slots: calls in flight. Their limit L adapts like TCP's congestion window (RFC 5681). A round ends after L successes. If at
   least 4/5 of L were in flight at once during the round, L grows, up to the ceiling C of the asking spec:

       slow start, until the first 429:   L <- 2 L
       afterwards:                        L <- L + max(1, C / 20)

   A 429 sets L <- max(1, 0.7 min(L, C)) and ends slow start. A server error takes `FAILURE_PENALTY` successes off the round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from autointerp.messages import RateLimits

SECOND = 1_000_000
WINDOW_S = 62.0
"""A minute and two seconds: a call reaches the provider up to two seconds after its admission, so the provider never counts more than
the ceiling in any 60 s."""
START_CONCURRENCY = 16
"""Limit of calls in flight before anything is known of the provider."""
FAILURE_PENALTY = 4
"""Successes that a server error takes off the round: with one failure in five calls or more, the limit does not grow."""
SLOT_POLL = SECOND // 10
"""Wait before asking again when all slots are taken. No notification reaches a process when another one frees a slot."""
MAX_WAIT = 5 * SECOND
"""Longest wait before asking again. A lost state, a new pause and calls that were settled early are noticed after at most this time."""
OVERDUE = 2 * SECOND
"""A worker that has waited longer than this goes before the others. A worker this late to ask again no longer counts as waiting."""
TURN_WAIT = SECOND // 50
"""Shortest wait for the turn of an overdue worker, which needs a moment to wake up and ask."""

Ending = Literal["ok", "limited", "failed", "unused"]
"""How a call ended: answered; refused by a 429 or an overloaded server; any other failure; never made."""


@dataclass(frozen=True)
class Ceilings:
    """What the spec allows: calls in flight at once, and requests and tokens in any minute (None: no limit)."""

    concurrency: int
    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a call is admitted at `moment`. If not: the microseconds to `wait` before asking again, and whether a pause is the reason."""

    admitted: bool
    moment: int
    wait: int = 0
    paused: bool = False


@dataclass
class _Call:
    """A call within the window: when it was admitted, and the tokens that it holds."""

    moment: int
    input_tokens: int
    output_tokens: int


class Window:
    """The calls of the last minute and those in flight. No window ever holds more than the ceilings.

    There is one exception: a call larger than a ceiling of tokens is admitted when the window is empty, because it would otherwise
    never be.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._length = round(window_s * SECOND)
        self.now = 0
        """Never goes back: an operation with an earlier time counts as happening now."""
        self.limit = START_CONCURRENCY
        self._calls: dict[str, _Call] = {}
        """Calls of the window, oldest first: they are added in the order of `moment`."""
        self._slots: dict[str, int] = {}
        """Calls in flight, and when each slot is freed although its call was not settled."""
        self._waiting: dict[str, tuple[int, int]] = {}
        """Workers whose first call waits: since when, and until when they sleep."""
        self._input = self._output = 0
        """Sums of the tokens of `_calls`."""
        self._paused_until = 0
        self._slow_start = True
        self._successes = 0
        """Successes of this round, less the penalties."""
        self._peak = 0
        """Most calls in flight at once during this round."""
        self._cut_at = -1
        """When the limit was last cut."""
        self._stated = RateLimits()
        """The account's limits as the provider's headers last stated them."""

    def seed(self, calls: Iterable[tuple[int, int, int]]) -> None:
        """Count calls that were made before this window existed: age in microseconds, input and output tokens of each."""
        for number, (age, input_tokens, output_tokens) in enumerate(sorted(calls, reverse=True)):
            self._add(f"seed/{number}", _Call(-age, input_tokens, output_tokens))
        self._advance(self.now)

    def ask(
        self, now: int, call_id: str, input_tokens: int, output_tokens: int, ceilings: Ceilings, timeout: int
    ) -> Decision:
        """Admit the call `worker/number`, or say how long to wait. Its slot is freed after `timeout` in any case."""
        self._advance(now)
        for other in [other for other, until in self._slots.items() if until <= self.now]:
            del self._slots[other]
        if call_id in self._slots:  # asked twice, because the answer was lost on its way
            return Decision(True, self.now)
        if self._paused_until > self.now:
            return Decision(False, self.now, self._paused_until - self.now, paused=True)
        worker = call_id.partition("/")[0]
        wait = max(
            SLOT_POLL if len(self._slots) >= min(self.limit, ceilings.concurrency) else 0,
            self._wait_for_room(input_tokens, output_tokens, ceilings),
            self._wait_for_turn(worker),
        )
        if wait:
            wait = min(wait, MAX_WAIT)
            since, _ = self._waiting.get(worker, (self.now, 0))
            self._waiting[worker] = since, self.now + wait
            return Decision(False, self.now, wait)
        self._waiting.pop(worker, None)
        self._add(call_id, _Call(self.now, input_tokens, output_tokens))
        self._slots[call_id] = self.now + timeout
        self._peak = max(self._peak, len(self._slots))
        return Decision(True, self.now)

    def settle(
        self,
        now: int,
        call_id: str,
        moment: int,
        ending: Ending,
        input_tokens: int,
        output_tokens: int,
        stated: RateLimits,
        ceiling: int,
    ) -> None:
        """Replace what the call, admitted at `moment`, reserved by what it used, and adapt the limit to how it ended."""
        self._advance(now)
        call = self._calls.get(call_id)
        if call is not None:
            self._input += input_tokens - call.input_tokens
            self._output += output_tokens - call.output_tokens
            call.input_tokens, call.output_tokens = input_tokens, output_tokens
            if ending == "unused":
                self._remove(call_id)
        self._stated = RateLimits(
            stated.requests or self._stated.requests,
            stated.input_tokens or self._stated.input_tokens,
            stated.output_tokens or self._stated.output_tokens,
        )
        if self._slots.pop(call_id, None) is not None:
            self._adapt(ending, moment, ceiling)

    def pause(self, now: int, length: int) -> None:
        """Admit no call for `length`. A shorter pause never ends a longer one."""
        self._advance(now)
        self._paused_until = max(self._paused_until, self.now + length)

    def free_slots(self, worker: str) -> None:
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
            self._remove(oldest)

    def _add(self, call_id: str, call: _Call) -> None:
        self._calls[call_id] = call
        self._input += call.input_tokens
        self._output += call.output_tokens

    def _remove(self, call_id: str) -> None:
        call = self._calls.pop(call_id)
        self._input -= call.input_tokens
        self._output -= call.output_tokens

    def _wait_for_room(self, input_tokens: int, output_tokens: int, ceilings: Ceilings) -> int:
        """Microseconds until enough of the oldest calls have left the window for this one to fit; 0 if it fits."""
        max_requests = _lower(ceilings.requests, self._stated.requests)
        max_input = _lower(ceilings.input_tokens, self._stated.input_tokens)
        max_output = _lower(ceilings.output_tokens, self._stated.output_tokens)
        count, total_input, total_output = len(self._calls), self._input + input_tokens, self._output + output_tokens
        wait = 0
        # If the loop runs through, the window is empty after `wait`, and the call is admitted whatever its size.
        for call in self._calls.values():
            if count < max_requests and total_input <= max_input and total_output <= max_output:
                break
            wait = call.moment + self._length - self.now
            count, total_input, total_output = (
                count - 1,
                total_input - call.input_tokens,
                total_output - call.output_tokens,
            )
        return wait

    def _wait_for_turn(self, worker: str) -> int:
        """Microseconds until all overdue workers that have waited longer than this one have asked again.

        Without it, the small calls of other workers could fill the window for ever before a large call fits.
        """
        mine, _ = self._waiting.get(worker, (self.now, 0))
        wait = 0
        for other, (since, until) in list(self._waiting.items()):
            if until + OVERDUE <= self.now:
                del self._waiting[other]
            elif since + OVERDUE <= self.now and since < mine:
                wait = max(wait, until - self.now, TURN_WAIT)
        return wait

    def _adapt(self, ending: Ending, moment: int, ceiling: int) -> None:
        # Calls admitted before the last cut were made under the old limit and show nothing about the new one: a burst of 429s
        # counts as one.
        if ending == "failed":
            self._successes = max(0, self._successes - FAILURE_PENALTY)
        elif ending == "limited" and moment > self._cut_at:
            self.limit = max(1, min(self.limit, ceiling) * 7 // 10)
            self._slow_start, self._cut_at = False, self.now
            self._next_round()
        elif ending == "ok" and moment > self._cut_at:
            self._successes += 1
            if self._successes >= self.limit:
                if self._peak * 5 >= self.limit * 4:
                    step = self.limit if self._slow_start else max(1, ceiling // 20)
                    # `max`: specs that share the limiter may have different ceilings, and a lower one must not cut the limit.
                    self.limit = max(self.limit, min(ceiling, self.limit + step))
                self._next_round()

    def _next_round(self) -> None:
        self._successes, self._peak = 0, len(self._slots)


def _lower(first: int | None, second: int | None) -> float:
    """The lower of two ceilings, of which either or both may be missing."""
    return min(value if value is not None else float("inf") for value in (first, second))
