"""The file of a SQLite ledger: made whole or not at all, and never mistaken for a new one when it is empty."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autointerp.errors import UsageError


def prepare(path: Path, make: Callable[[Path], None]) -> None:
    """Make the database of a path that does not exist. Raises `UsageError` for an empty file, and `OSError`.

    `make` creates a database with its schema. It works under another name, so that an empty file under the ledger's own name
    is always a damaged ledger, and several processes may arrive here at once.
    """
    if path.exists():
        if not path.stat().st_size and not _size(Path(f"{path}-wal")):
            raise UsageError(
                f"ledger {path} is empty (0 bytes): it was truncated or not copied completely; restore it from a copy, or delete it"
                " to begin a new one, which asks and pays for everything again"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        make(new)
        try:
            os.link(new, path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:  # a file system without hard links
            if not path.exists():
                new.rename(path)
    finally:
        for left in (new, Path(f"{new}-wal"), Path(f"{new}-shm"), Path(f"{new}-journal")):
            left.unlink(missing_ok=True)


RESERVE_BYTES = 8 * 2**20
"""Enough for the answers of some hundred calls in flight, each in a transaction of its own."""


def keep_reserve(path: Path) -> None:
    """Hold disk space beside the database for the answers of calls in flight. Raises `OSError` if the disk is full or read-only."""
    reserve = _reserve(path)
    if reserve.exists():
        return
    try:
        reserve.write_bytes(bytes(RESERVE_BYTES))
    except OSError:
        free_reserve(path)
        raise


def free_reserve(path: Path) -> None:
    """Give the disk space back, if it is held."""
    with suppress(OSError):
        _reserve(path).unlink()


def _reserve(path: Path) -> Path:
    return path.with_name(f".{path.name}.reserve")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
