"""Files and folders that are written whole or not at all, so that a reader never finds half of one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".writing-"
"""Prefix of files and folders that are being written."""
_STALE_S = 24 * 3600


@contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to `path` when the block ends without an error.

    With `replace=False` an existing file is kept and `FileExistsError` raised: of several writers the first one wins, if the file
    system has hard links.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if replace or not _linked(partial, path):
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def is_local(path: str) -> bool:
    """Whether a name can only be a path on this machine: absolute, of the home folder, or with `.` or `..` in it."""
    local = Path(path).expanduser()
    return local.is_absolute() or path.startswith("./") or bool({".", ".."} & set(path.split("/")))


def missing_part(path: str) -> str:
    """The first part that is missing of a relative path whose first folder exists, such as `saes has no layer_7`; else empty."""
    parts = Path(path).parts
    for n in range(1, len(parts)):
        if Path(*parts[:n]).is_dir() and not Path(*parts[: n + 1]).exists():
            return f"{Path(*parts[:n])} has no {parts[n]}"
    return ""


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 with Unix line ends, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it is renamed to `path` when the block ends without an error.

    If another process has made `path` in the meantime, that folder is kept and this one removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _linked(partial: Path, path: Path) -> bool:
    """Give a file its final name, unless the name is taken. Returns False on file systems without hard links, which cannot tell
    which writer was first."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _remove_stale(folder: Path) -> None:
    """Remove what killed processes left behind more than a day ago; a younger file may belong to a process that still runs."""
    for path in folder.glob(f"{PARTIAL}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
