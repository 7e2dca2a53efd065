"""Makes values one after another in a thread of its own, so that a page need not wait for those that it does not show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def in_background(*makers: Callable[[], Any]) -> list[Future[Any]]:
    """A future for each value, made in this order. An error is raised by `result` of its future.

    The thread is a daemon, so that the program ends without waiting for it.
    """
    futures: list[Future[Any]] = [Future() for _ in makers]

    def work() -> None:
        for make, future in zip(makers, futures, strict=True):
            try:
                future.set_result(make())
            except Exception as error:
                future.set_exception(error)

    threading.Thread(target=work, name="reads an index", daemon=True).start()
    return futures
