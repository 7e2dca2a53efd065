"""Writes a sheet as a CSV file to be filled in elsewhere, and reads it back.

Like the page, the file shows nothing of the judge's grades, and no cell of it can act as a formula.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.labelling.sheet import Item, Sheet
from autointerp.prompts.untrusted_text import CLOSE_MARK, OPEN_MARK

COLUMNS = ("number", "explanation", "text", "score", "run")
SKIP = "s"
_FORMULA = re.compile(r"^(?=\s*[=+\-@])")
_GRADE = re.compile(r"(\d{1,3})(?:[.,]0+)?")


def write(sheet: Sheet, path: Path) -> None:
    """Write the sheet with empty scores, in the rater's order. Raises `UsageError` if the file exists or cannot be written.

    The marked text stands between `<<` and `>>`. A text that a spreadsheet would read as a formula is preceded by an apostrophe.
    """
    try:
        with path.open("x", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for item in sheet.items:
                texts = (_FORMULA.sub("'", text) for text in (item.explanation, _marked(item)))
                writer.writerow([item.number, *texts, "", sheet.run_id])
    except FileExistsError:
        raise UsageError(f"--export {path} already exists: name another file, or remove it") from None
    except OSError as error:
        raise UsageError(f"--export {path} cannot be written: {error.strerror}") from None


def _marked(item: Item) -> str:
    return f"{item.before}{OPEN_MARK}{item.marked}{CLOSE_MARK}{item.after}"


def read(sheet: Sheet, path: Path) -> dict[int, int | None]:
    """The scores in a file by item number, None for `s` (skipped). Rows without a score are left out. Raises `UsageError`.

    Only the columns `number` and `score` are needed, separated by commas, semicolons or tabs. Labels of another `run` are refused.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"--import {path} cannot be read: {reason}") from None
    header = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    if not {"number", "score"} <= set(rows.fieldnames or ()):
        raise UsageError(f"--import {path} lacks the columns number and score: use the file that --export writes")
    scores: dict[int, int | None] = {}
    try:
        for row in rows:
            if (row["score"] or "").strip():
                number, score = _row(sheet, row)
                if number in scores:
                    raise ValueError(f"item {number} has two scores: keep one")
                scores[number] = score
    except (ValueError, csv.Error) as error:
        raise UsageError(f"--import {path}, line {rows.line_num}: {error}") from None
    return scores


def _row(sheet: Sheet, row: dict[str, str | None]) -> tuple[int, int | None]:
    """The item number and score of a row. Raises ValueError."""
    run = (row.get("run") or sheet.run_id).strip()
    if run != sheet.run_id:
        raise ValueError(f"it holds labels of run {run}, not of {sheet.run_id}")
    number = _GRADE.fullmatch((row["number"] or "").strip())
    if number is None or int(number[1]) not in sheet.numbers:
        raise ValueError(f"there is no item {row['number']!r} in this run's sample")
    score = (row["score"] or "").strip()
    if score == SKIP:
        return int(number[1]), None
    grade = _GRADE.fullmatch(score)
    if grade is None or int(grade[1]) >= len(sheet.levels):
        raise ValueError(f"score {score!r} is wrong: use 0 to {len(sheet.levels) - 1}, or {SKIP} to skip the item")
    return int(number[1]), int(grade[1])
