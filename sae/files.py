"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".writing-"
"""Prefix of files that are being written."""
_STALE_S = 24 * 3600


@contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` on the way out, so that a reader never meets half a file.

    With `replace=False` an existing file is kept and `FileExistsError` raised: of several writers the first wins, where the file
    system has hard links.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if replace or not _linked(partial, path):
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 with Unix line ends, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _linked(partial: Path, path: Path) -> bool:
    """Give a file its final name unless there is one. False on file systems without hard links, which cannot say who was first."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed processes left more than a day ago."""
    for left in folder.glob(f"{PARTIAL}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
