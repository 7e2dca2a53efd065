"""One process of a fleet that shares a limiter; tests start several."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import redis

from autointerp.judges.limits.admission_window import Ceilings
from autointerp.judges.limits.limiter import CallOutcome
from autointerp.judges.limits.redis_limiter import SharedLimiter


class Done(NamedTuple):
    """One call: when it was asked for and admitted in this machine's monotonic time, and when by the limiter's."""

    asked_s: float
    admitted_s: float
    moment: int
    input_tokens: int
    output_tokens: int
    in_flight: int


def make_calls(
    url: str, key: str, worker: str, ceilings: Ceilings, window_s: float, threads: int, calls: int
) -> list[Done]:
    """Make `calls` calls from `threads` threads, each of which uses less than it reserved."""
    with redis.Redis.from_url(url) as client:
        limiter = SharedLimiter(client, key, ceilings, worker, lambda: (), window_s=window_s)
        slots = f"{{autointerp:limit:{key}}}:slots"

        def call(number: int) -> Done:
            asked = time.monotonic()
            size = 10 + 7 * number % 40
            admission = limiter.acquire(size, 2 * size)
            admitted, in_flight = time.monotonic(), client.zcard(slots)
            limiter.settle(admission, CallOutcome("ok", size // 2, size))
            return Done(asked, admitted, admission.moment, size // 2, size, in_flight)

        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(call, range(calls)))
