"""File locks between processes on one machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.places import writing


class AlreadyLocked(UsageError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a file while the block runs. `what` names the work. Raises `AlreadyLocked`."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy(what) from None
        yield


def busy(what: str) -> AlreadyLocked:
    """The error of a lock that another process holds."""
    return AlreadyLocked(f"another process is working on {what}: wait for it, or stop it first")
