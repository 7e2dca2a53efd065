"""Makes values one after another in a thread of its own, so that a page need not wait for those that it does not show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Values that a thread makes after `start`, in the order in which they were added.

    The thread is a daemon, so that the program ends without waiting for it.
    """

    def __init__(self) -> None:
        self._work: list[tuple[Callable[[], Any], Future[Any]]] = []

    def add(self, make: Callable[[], T]) -> Future[T]:
        """The value that `make` will return. `result` of the future waits for it, and raises the error of `make`."""
        future: Future[T] = Future()
        self._work.append((make, future))
        return future

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="reads an index", daemon=True).start()

    def _run(self) -> None:
        for make, future in self._work:
            try:
                future.set_result(make())
            except Exception as error:
                future.set_exception(error)
        self._work.clear()
