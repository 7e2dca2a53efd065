"""Work side by side on a CPU: threads that compute on one core each.

Operations on a few million numbers gain little from being spread over all cores, and many of torch's and numpy's are not. Where
there are several pieces of work that do not touch each other, whole pieces side by side use the cores better.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

Each = Callable[[Callable[[Any], None], Iterable[Any]], None]
"""Calls a function with each of some items, in any order."""


def one_by_one(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call `work` with each of `items`, one after another."""
    for item in items:
        work(item)


@contextmanager
def side_by_side(device: torch.device) -> Iterator[Each]:
    """An `Each` over as many threads as torch computes with on a CPU, in inference mode; `one_by_one` on any other device.

    Fewer items than threads come one by one too, each on all cores. What a call raises, the `Each` raises, and begins no more;
    those that had begun are over when the `with` ends.
    """
    n = torch.get_num_threads() if device.type == "cpu" else 1
    if n == 1:
        yield one_by_one
        return
    with ThreadPoolExecutor(n, "one-core", _on_one_core) as pool:
        begun = threading.Barrier(n)
        list(pool.map(lambda _: begun.wait(), range(n)))
        torch.set_num_threads(n)  # for threads that are yet to come: their default is what was last set by any

        def each(work: Callable[[Any], None], items: Iterable[Any]) -> None:
            every = list(items)
            if len(every) < n:
                return one_by_one(work, every)
            for _ in pool.map(torch.inference_mode()(work), every):
                pass

        yield each


def _on_one_core() -> None:
    torch.get_num_threads()  # a thread's first question takes the number that was last set by any thread: it must not come later
    torch.set_num_threads(1)
