"""Files of Neuronpedia's exports: batches of JSON lines in folders by kind, plain or compressed, and single files of JSON."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError


def batches(path: Path, kind: str, forms: str) -> list[Path]:
    """The files at a path: the file itself, or the batches in its folder of this kind or in the folder itself, in the order of their numbers.

    `forms` says what can be given. Raises `UsageError` if there are none.
    """
    if not path.exists():
        raise UsageError(f"{kind} {path}: there is no such file or folder: give {forms}")
    if path.is_file():
        return [path]
    folder = path / kind if (path / kind).is_dir() else path
    found = [file for file in folder.iterdir() if ending(file) in ("jsonl", "json")]
    if not found:
        raise UsageError(f"{folder} holds no batch-0.jsonl.gz: give {forms}")
    return sorted(found, key=lambda file: ([int(n) for n in re.findall(r"\d+", file.name)], file.name))


def ending(path: Path) -> str:
    """The end of a file's name that says what it holds: `csv` of `x.csv`, `jsonl` of `x.jsonl.gz`."""
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def text_of(path: Path) -> str:
    """The text of a file, unpacked if its name ends in `.gz`. Raises `UsageError`."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.name.lower().endswith(".gz") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def values(path: Path) -> Iterator[tuple[Any, str]]:
    """The JSON values of a file, one for each line of a `.jsonl` file, and where each stands. Raises `UsageError`."""
    text = text_of(path)
    if ending(path) != "jsonl":
        yield _parsed(text, str(path)), str(path)
        return
    for line, each in enumerate(text.split("\n"), 1):
        if each.strip():
            where = f"{path}, line {line},"
            yield _parsed(each, where), where


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
