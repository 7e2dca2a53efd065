"""Makes values one after another in a thread of its own, so that a page need not wait for those that it does not show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Values that a thread makes after `start`, in the order in which they were added, until `stop`.

    The thread is a daemon, so that an error elsewhere ends the program. A program that ends well stops it first: the interpreter would
    abort if it ended while the thread is in a library that is written in C++.
    """

    def __init__(self) -> None:
        self._work: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._thread = threading.Thread(target=self._run, name="reads an index", daemon=True)
        self._stopped = threading.Event()

    def add(self, make: Callable[[], T]) -> Future[T]:
        """The value that `make` will return. `result` of the future waits for it, and raises the error of `make`."""
        future: Future[T] = Future()
        self._work.append((make, future))
        return future

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the value that is being made. Those after it are not made."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        for make, future in self._work:
            if self._stopped.is_set():
                future.cancel()
                continue
            try:
                future.set_result(make())
            except Exception as error:
                future.set_exception(error)
        self._work.clear()
