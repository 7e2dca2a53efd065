"""Hashes of files, remembered by path, size and modification time, so that gigabytes are read once.

A file that is replaced by another of the same size with the same modification time, to the nanosecond, is taken for the first one.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from sae.cache import cache_dir
from sae.files import write_text

_COARSEST_NS = 2_000_000_000
"""The coarsest resolution of timestamps on some file systems: a younger file could change without a new one."""


def stamp(path: Path) -> str:
    """Path, size and modification time of a file as one string. Raises `OSError`."""
    stat = path.stat()
    return f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"


def is_settled(path: Path) -> bool:
    """Whether a later change of the file will change its stamp. Raises `OSError`."""
    return time.time_ns() - path.stat().st_mtime_ns > _COARSEST_NS


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex; read once as long as its stamp is the same. Raises `OSError`."""
    before, settled = stamp(path), is_settled(path)
    cached = cache_dir() / "corpora" / "hashes" / hashlib.sha256(before.encode("utf-8", "surrogateescape")).hexdigest()
    if cached.is_file():
        return cached.read_text()
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if settled and stamp(path) == before:
        write_text(cached, digest)
    return digest
