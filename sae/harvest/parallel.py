"""Independent pieces of work side by side on a CPU, in threads that compute on one core each.

Operations on a few million numbers gain little from being spread over all cores, and many of torch's and numpy's are not. Where
several pieces of work do not touch each other, running whole pieces side by side uses the cores better.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

ForEach = Callable[[Callable[[Any], None], Iterable[Any]], None]
"""Calls a function with each of some items, in any order."""


def one_by_one(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call `work` with each of `items`, one after another."""
    for item in items:
        work(item)


@contextmanager
def side_by_side(device: torch.device) -> Iterator[ForEach]:
    """A `ForEach` over as many threads as torch computes with on a CPU, in inference mode; `one_by_one` on any other device.

    Fewer items than threads are also worked on one by one, each on all cores. If a call raises, the `ForEach` raises the same and
    starts no more calls; those already running have ended when the `with` block ends.
    """
    n = torch.get_num_threads() if device.type == "cpu" else 1
    if n == 1:
        yield one_by_one
        return
    with ThreadPoolExecutor(n, "one-core", _on_one_core) as pool:
        # torch keeps the number of threads per thread, and a new thread starts with what any thread set last. So all workers are
        # started now, behind a barrier, and afterwards the number is set back for threads that come later.
        started = threading.Barrier(n)
        list(pool.map(lambda _: started.wait(), range(n)))
        torch.set_num_threads(n)

        def for_each(work: Callable[[Any], None], items: Iterable[Any]) -> None:
            listed = list(items)
            if len(listed) < n:
                return one_by_one(work, listed)
            for _ in pool.map(torch.inference_mode()(work), listed):
                pass

        yield for_each


def _on_one_core() -> None:
    torch.get_num_threads()  # a thread's first call takes over the number set last by any thread: it must not come later
    torch.set_num_threads(1)
