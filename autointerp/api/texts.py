"""Texts from memory as a file that a spec can name: strings, a data set, or token ids, a document each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from autointerp.errors import UsageError
from autointerp.places import writing
from sae.files import write_text

MOST_BYTES = 32
"""Bytes of a stream that are read for each token of `corpus.max_tokens`: a token of any tokenizer has fewer on average."""
IDS = "input_ids"


class Source(NamedTuple):
    """Entries of `corpus.sources`, and the column of the documents in them."""

    entries: list[str]
    column: str | None = None


def source_of(texts: Any, folder: Path, *, max_tokens: int, column: str = "text") -> Source:
    """The texts as entries of `corpus.sources`. Those in memory are written to a file in `folder`, named by its content.

    `texts`: a path, a glob or `datasets:owner/name`; several paths; strings, a document each; rows of a data set, with text, token ids
    or conversations in `column`; or token ids, as lists or as an array (documents, tokens). Raises `UsageError` for anything else.
    """
    if isinstance(texts, str | os.PathLike):
        return Source([str(texts)])
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        raise UsageError(f"texts is a {type(texts).__name__}: give a path, a list of strings, a data set or token ids")
    if isinstance(texts, list | tuple) and texts and all(isinstance(text, os.PathLike) for text in texts):
        return Source([str(text) for text in texts])
    with writing(folder):
        return _written(texts, folder, MOST_BYTES * max_tokens, column)


def _written(texts: Iterable[Any], folder: Path, most: int, column: str) -> Source:
    lines, size, kinds = list[str](), 0, set[str]()
    for kind, document in _documents(texts, column):
        kinds.add(kind)
        lines.append(json.dumps({kind: document}))
        size += len(lines[-1])
        if size > most:
            break
    if len(kinds) != 1:
        raise UsageError(
            f"texts holds {' and '.join(sorted(kinds))}: give documents of one kind"
            if kinds
            else "texts is empty: give documents"
        )
    text = "\n".join(lines) + "\n"
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
    if not path.is_file():
        write_text(path, text)
    return Source([str(path)], kinds.pop())


def _documents(texts: Iterable[Any], column: str) -> Iterator[tuple[str, Any]]:
    """Each document with the column that its kind has in a file."""
    for number, row in enumerate(texts):
        value = row
        if isinstance(row, Mapping):
            if column not in row:
                raise UsageError(
                    f"texts has no column {column!r} (it has {', '.join(map(str, row))}): name one by spec={{'corpus.text_field': ...}}"
                )
            value = row[column]
        if isinstance(value, str):
            yield "text", value
            continue
        value = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(value, list | tuple) and value and all(isinstance(entry, int) for entry in value):
            yield IDS, list(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(entry, Mapping) for entry in value):
            yield "messages", [dict(entry) for entry in value]
        else:
            raise UsageError(
                f"texts[{number}] is a {type(value).__name__}: give strings, token ids or rows of a data set"
            )
