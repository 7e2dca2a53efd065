"""One rater's sheet: the items of the sample as they are shown, and the rater's labels. Page, terminal and CSV files share it.

Raters see an explanation and a marked window and nothing else. Grades, reasons, bins, activations, kinds, arms and the names of units
stay in the ledger until the rater has graded or skipped every item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from autointerp.errors import UsageError
from autointerp.findings.summary import read_summary
from autointerp.hashing import content_hash
from autointerp.labelling import sample
from autointerp.labelling.sample import Judged
from autointerp.ledger import judgements, labels, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.labels import Label, LabelItem
from autointerp.ledger.runs import no_such_run
from autointerp.records import COMPARED
from autointerp.report.escape import visible

ITEMS = 100
KINDS = (*COMPARED, "planted")


@dataclass(frozen=True)
class Item:
    """What a rater sees of an item: the explanation, and the window before, at and after the mark, in visible characters only."""

    number: int
    explanation: str
    before: str
    marked: str
    after: str


@dataclass(frozen=True)
class Agreement:
    """Agreement of a rater with the judge, as unweighted numbers of items."""

    n: int
    """Items with a grade by both."""
    exact: int
    """Items with the same grade."""
    within_one: int
    """Items with grades at most one level apart."""
    table: list[list[int]]
    """`table[j][r]`: items to which the judge gave grade `j` and the rater grade `r`."""


class Sheet:
    """A rater's items in the rater's own order, and their labels, which are written to the ledger at once.

    Safe to use from several threads and beside other sheets of the same run, because each label is a separate row.
    """

    def __init__(self, ledger: Ledger, run_id: str, rater: str, levels: Sequence[str], items: Sequence[Item]) -> None:
        self.ledger, self.run_id, self.rater, self.levels = ledger, run_id, rater, tuple(levels)
        self.items = tuple(sorted(items, key=lambda item: content_hash(["rater", run_id, rater, item.number])))
        self.numbers = frozenset(item.number for item in items)

    def labels(self) -> dict[int, Label]:
        """The rater's labels so far by item number, the earliest first."""
        with self.ledger.read() as tx:
            by_number = labels.of_rater(tx, self.run_id, self.rater)
        return {number: label for number, label in by_number.items() if number in self.numbers}

    def set(self, scores: Mapping[int, int | None]) -> None:
        """Write grades by item number, None to skip an item: all of them or none.

        Raises ValueError for a number that is not on the sheet or a grade that is not on the rubric.
        """
        for number, score in scores.items():
            self._check(number)
            if score is not None and not 0 <= score < len(self.levels):
                raise ValueError(f"grade {score} is not on the rubric: use 0 to {len(self.levels) - 1}")
        with self.ledger.write() as tx:
            for number, score in scores.items():
                labels.add(tx, self.run_id, number, self.rater, score)

    def undo(self, number: int) -> None:
        """Remove the label of an item. Raises ValueError for a number that is not on the sheet."""
        self._check(number)
        with self.ledger.write() as tx:
            labels.undo(tx, self.run_id, number, self.rater)

    def _check(self, number: int) -> None:
        if number not in self.numbers:
            raise ValueError(f"item {number} is not in the sample: it has {len(self.numbers)} items")

    def describe(self) -> str:
        """The rater's progress in one line."""
        done = self.labels()
        n_skipped = sum(label.score is None for label in done.values())
        skipped = f", {n_skipped} skipped" if n_skipped else ""
        return f"{self.run_id}: {self.rater} has graded {len(done) - n_skipped} of {len(self.items)} items{skipped}"

    def agreement(self) -> Agreement | None:
        """The agreement with the judge, or None until the rater has graded or skipped every item."""
        done = self.labels()
        if len(done) < len(self.items):
            return None
        with self.ledger.read() as tx:
            judged = labels.judged(tx, self.run_id)
            sampled = labels.items(tx, self.run_id)
        table = [[0] * len(self.levels) for _ in self.levels]
        for item in sampled:
            score = done[item.number].score if item.number in done else None
            if score is not None and item.key in judged:
                table[judged[item.key][1]][score] += 1
        cells = [(abs(j - r), count) for j, row in enumerate(table) for r, count in enumerate(row)]
        n, exact, near = (sum(count for apart, count in cells if apart <= most) for most in (len(table), 0, 1))
        return Agreement(n, exact, near, table)


def open_sheet(ledger: Ledger, results: Path, run_id: str, rater: str, n: int | None) -> Sheet:
    """A rater's sheet of a finished run. The run's sample is drawn if there is none, and extended if `n` is larger.

    Raises `UsageError` for a wrong name, an unknown run, or a run that has not ended or has nothing to label.
    """
    rater = rater.strip()
    if not 0 < len(rater) <= 64 or visible(rater) != rater:
        raise UsageError(f"--rater {rater!r} is wrong: give a name of 1 to 64 visible characters")
    folder = results / run_id
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
    if row is None:
        raise no_such_run(run_id)
    if row["state"] in runs.LIVE or not (folder / "summary.json").exists():
        raise UsageError(f"run {run_id} has not finished: people grade what the judge graded, so label it afterwards")
    summary = read_summary(folder)
    with ledger.write() as tx:
        runs.lock_row(tx, run_id)  # if two raters start at once, only one of them draws the sample
        sampled = _sample(tx, run_id, _kinds(folder), n, f"{run_id}/{summary.seed}")
        explained = judgements.explanations_of(tx, run_id)
    texts = {key.text: explanation.text for key, explanation in explained.items()}
    levels = [level.text for level in summary.rubric.levels]
    return Sheet(ledger, run_id, rater, levels, _items(folder, sampled, texts))


def _sample(tx: Connection, run_id: str, kinds: Mapping[str, str], n: int | None, seed: str) -> list[LabelItem]:
    """The run's sample, drawn or extended to `n` items if needed."""
    existing = labels.items(tx, run_id)
    if existing and (n is None or n <= len(existing)):
        return existing
    population = [
        Judged(key, unit_id, kinds[unit_id], score)
        for key, (unit_id, score) in labels.judged(tx, run_id).items()
        if unit_id in kinds and (kinds[unit_id] != "planted" or key.arm == "main")
    ]
    if not population:
        raise UsageError(f"run {run_id} has no scored judgements: there is nothing to label")
    sampled = sample.extend(population, existing, n or ITEMS, seed)
    labels.put_items(tx, run_id, sampled)
    return sampled


def _kinds(folder: Path) -> dict[str, str]:
    """The kind of each unit whose items people are shown."""
    table = pd.read_parquet(folder / "units.parquet", columns=["unit_id", "kind"])
    return {str(u): str(kind) for u, kind in zip(table["unit_id"], table["kind"], strict=True) if kind in KINDS}


def _items(folder: Path, sampled: Sequence[LabelItem], explanations: Mapping[str, str]) -> list[Item]:
    """The sampled items as raters see them."""
    filters = [("exemplar_id", "in", {item.exemplar_id for item in sampled})]
    columns = ["exemplar_id", "mark", "tokens"]
    table = pd.read_parquet(folder / "exemplars.parquet", columns=columns, filters=filters)
    windows: dict[str, dict[str, Any]] = {row["exemplar_id"]: row for row in table.to_dict("records")}  # type: ignore[misc]
    if missing := [item for item in sampled if item.exemplar_id not in windows]:
        raise UsageError(
            f"{folder / 'exemplars.parquet'} lacks {len(missing)} of the sample's windows: run the spec again"
        )
    return [
        _item(item.number, explanations.get(item.explanation_unit_id, ""), **windows[item.exemplar_id])
        for item in sampled
    ]


def _item(number: int, explanation: str, *, exemplar_id: str, mark: int, tokens: Sequence[str]) -> Item:
    """An item with its window split at the mark. Leading spaces of the marked token are not marked, unless it has nothing else."""
    token = str(tokens[mark])
    word = token.lstrip(" ")
    space = token[: len(token) - len(word)] if word else ""
    before, after = "".join(tokens[:mark]) + space, "".join(tokens[mark + 1 :])
    marked = visible(word) or ("\u2423" if token else "\u25cc")
    return Item(number, visible(explanation, keep="\n"), visible(before, keep="\n"), marked, visible(after, keep="\n"))
