"""Computes the comparison of two indexes in a process of its own: `python -m autointerp.explorer.comparison.compute FOLDER FOLDER`.

Progress and an error are lines of JSON on stdout. The process ends when its stdin is closed, so that it does not outlive the explorer.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from autointerp.errors import EXPECTED, UsageError
from autointerp.explorer.comparison import files, matches
from autointerp.explorer.comparison.grades import grades_of
from autointerp.explorer.comparison.relation import Side, relation_of, same_tokens
from autointerp.explorer.comparison.schema import Matching, Relation
from autointerp.explorer.index.folder import IndexFolder
from autointerp.progress import OnProgress

_REPORT_S = 0.2
Tables = tuple[pa.Table, pa.Table]


def compare(a: Side, b: Side, report: OnProgress) -> None:
    """Compare two indexes and write the files of both sides. Matches that are current are kept. Raises `UsageError`, `SaeError` and
    `PlaceFailed`."""
    identities = a.about.identity, b.about.identity
    known = files.read(a, b.about.identity), files.read(b, a.about.identity)
    relation, why, chance, rows = _kept(a, b, known) or _matched(a, b, report)
    report("comparing grades", 0, 0)
    grades = grades_of(a, b), grades_of(b, a)
    if (_identity(a), _identity(b)) != identities:
        raise UsageError("an index was made again while it was compared: compare it once more")
    # The own side last: the explorer waits for its file.
    for side, other, its_grades, its_rows in ((b, a, grades[1], rows and rows[1]), (a, b, grades[0], rows and rows[0])):
        matching = Matching(
            own=side.about.identity,
            other=other.about.identity,
            run=other.run.name if other.run else None,
            relation=relation,
            why=why,
            same_tokens=same_tokens(a, b),
            chance=chance,
            graded=files.results_hash(side, other),
            grades=its_grades,
        )
        files.write(side, matching, its_rows)


def _matched(a: Side, b: Side, report: OnProgress) -> tuple[Relation, str, float | None, Tables | None]:
    """The relation and the matches."""
    relation, why = relation_of(a, b)
    if relation == "apart":
        return relation, why, None, None
    if relation == "same":
        return relation, why, None, matches.of_one_dictionary(a, b, same_tokens(a, b)).rows
    found = matches.of_two_dictionaries(a, b, same_tokens(a, b), report)
    if isinstance(found, str):
        return "apart", found, None, None
    return relation, why, found.chance, found.rows


def _kept(
    a: Side, b: Side, known: tuple[Matching | None, Matching | None]
) -> tuple[Relation, str, float | None, Tables | None] | None:
    """The matches that are there already, if only the grades have changed."""
    one, other = known
    if one is None or other is None:
        return None
    if one.relation == "apart":
        return one.relation, one.why, None, None
    with suppress(UsageError):  # a damaged table is computed again
        return (
            one.relation,
            one.why,
            one.chance,
            (files.table(a.folder.path, one.other), files.table(b.folder.path, other.other)),
        )
    return None


def _identity(side: Side) -> str:
    """The identity that the files of an index state now."""
    return IndexFolder(side.folder.path).about.identity


def main(arguments: list[str]) -> int:
    """Compare the indexes in two folders. Returns the exit code."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    shown = 0.0

    def report(phase: str, done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _REPORT_S or done in (0, total):
            shown = time.monotonic()
            print(json.dumps({"phase": phase, "done": done, "total": total}), flush=True)

    a, b = (Side(IndexFolder(Path(each))) for each in arguments)
    try:
        compare(a, b, report)
    except EXPECTED as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # not sys.stdin.buffer, whose lock would be held when the interpreter ends
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
