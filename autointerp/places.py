"""Folders and files that a command writes: opened, or refused in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autointerp.errors import AutointerpError, UsageError


class PlaceFailed(AutointerpError):
    """A file cannot be written: the disk is full, read-only or gone."""


def open_folder(path: Path) -> Path:
    """A folder in which files can be written, made if it is missing. Raises `UsageError` and `PlaceFailed`."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{printable(path)} has a name that is not UTF-8: name another folder") from None
    if any(not character.isprintable() for character in os.fspath(path)):
        raise UsageError(f"{os.fspath(path)!r} has characters in its name that cannot be printed: name another folder")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    return path


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the file system inside the block, which writes to `folder`, into one line. Raises `PlaceFailed`."""
    try:
        yield
    except OSError as error:
        raise PlaceFailed(
            f"{file_error(error, folder)}: free space there, or name another folder, and run the same command; everything done so"
            " far is kept"
        ) from None


def file_error(error: OSError, folder: Path | None = None) -> str:
    """An error of the file system in one line. `folder` is named if the error names no file."""
    where = error.filename if isinstance(error.filename, str) else folder
    reason = " ".join((error.strerror or str(error)).split())
    return reason if where is None else f"{printable(where)} cannot be written or read ({reason})"


def printable(path: str | os.PathLike[str]) -> str:
    """A path whose bytes that are not UTF-8 are shown as escapes."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
