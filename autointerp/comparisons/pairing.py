"""What two runs share: the exemplars, the units, the texts, or nothing; and in what they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from autointerp.comparisons.finished_run import FinishedRun
from autointerp.errors import UsageError
from autointerp.formatting import plural
from autointerp.records import COMPARED, Arm

Pairing = Literal["exemplars", "units", "texts", "nothing"]

EXCHANGEABLE = ("dictionary", "judge", "explainer", "rubric", "explanation settings", "grading settings")
"""The facts of a run that a comparison is about. The others decide only on which sample it is graded."""


@dataclass(frozen=True)
class Side:
    """One or more runs that stand for the same thing. Several are over dictionaries that differ only in the seed of their training."""

    runs: tuple[FinishedRun, ...]

    @property
    def first(self) -> FinishedRun:
        """The run that names the side."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """The first run's id, and the number of further runs."""
        more = len(self.runs) - 1
        return self.first.run_id + (f" and {plural(more, 'other seed')}" if more else "")

    @property
    def unscored_share(self) -> float:
        """Mean share of the main arm's exemplars without a grade."""
        return sum(run.unscored_share for run in self.runs) / len(self.runs)


@dataclass(frozen=True)
class Matched:
    """The part of two sides' results of one kind of unit that can be compared."""

    items: tuple[tuple[pd.DataFrame, ...], tuple[pd.DataFrame, ...]]
    """Graded exemplars by side and run."""
    pairing: Pairing
    only: tuple[int, int]
    """Number of graded units that were left out because the other side lacks them, by side."""
    dropped: tuple[int, int]
    """Number of graded exemplars of the main arm that were left out because the other side lacks them, by side."""


def differing(a: FinishedRun, b: FinishedRun) -> list[str]:
    """Names of the facts in which two runs differ, those that a comparison is about first."""
    first, second = a.facts, b.facts
    return [name for name in first if first[name] != second[name]]


def check_comparable(sides: Sequence[Side]) -> None:
    """Raises `UsageError` if a run is given twice, or grades are on other scales or in other bins."""
    runs = [run for side in sides for run in side.runs]
    for place, run in enumerate(runs):
        if run.folder.resolve() in [other.folder.resolve() for other in runs[:place]]:
            raise UsageError(f"{run.run_id} is given twice: name each run once")
    first = runs[0]
    for run in runs[1:]:
        for name, mine, other in (
            ("grades of the rubric", first.summary.rubric.grades, run.summary.rubric.grades),
            ("activation bins", first.spec["harvest"]["bins"], run.spec["harvest"]["bins"]),
        ):
            if mine != other:
                raise UsageError(
                    f"{first.run_id} and {run.run_id} have nothing to compare: the {name} are {mine} in one and {other} in"
                    " the other; run one of them again with the other's"
                )
    for kind in COMPARED:
        graded = [any((run.items["kind"] == kind).any() for run in side.runs) for side in sides]
        if all(graded):
            return
    raise UsageError(
        f"{sides[0].name} and {sides[-1].name} have nothing to compare: no kind of unit is graded in all of them"
    )


def pairs(sides: Sequence[Side]) -> list[tuple[int, int]]:
    """The pairs of sides to compare: those that differ in a single one of `EXCHANGEABLE`; all pairs if there are none."""
    every = [(i, j) for i in range(len(sides)) for j in range(i + 1, len(sides))]
    alone = [pair for pair in every if len(_compared_facts(*(sides[i].first for i in pair))) == 1]
    return alone or every


def _compared_facts(a: FinishedRun, b: FinishedRun) -> list[str]:
    """The facts of `EXCHANGEABLE` in which two runs differ. A judge that also explains is one difference."""
    names = [name for name in differing(a, b) if name in EXCHANGEABLE]
    same = [run.summary.judge == run.summary.explainer for run in (a, b)]
    return [name for name in names if name != "explainer"] if all(same) and "judge" in names else names


def match(a: Side, b: Side, kind: str) -> Matched:
    """The results of one kind that can be compared.

    Units of one population are matched by id if at least half of the units of each side are in the other, and their exemplars if the same
    is true of those: an exemplar without a grade in one run is then left out of both.
    """
    items = tuple(tuple(run.items.loc[run.items["kind"] == kind] for run in side.runs) for side in (a, b))
    same_texts = len({run.summary.corpus.fingerprint for side in (a, b) for run in side.runs}) == 1
    same_units = len({run.population(kind) for side in (a, b) for run in side.runs}) == 1
    if not same_units or len(a.runs) + len(b.runs) > 2:
        return Matched((items[0], items[1]), "texts" if same_texts else "nothing", (0, 0), (0, 0))
    (first,), (second,) = items
    kept, only = _common(first, second, ["unit_id"])
    if kept is None:
        return Matched(((first,), (second,)), "texts" if same_texts else "nothing", (0, 0), (0, 0))
    alike, dropped = _common(*kept, ["arm", "exemplar_id"]) if same_texts else (None, (0, 0))
    pairing: Pairing = "units" if alike is None else "exemplars"
    first, second = alike or kept
    return Matched(((first,), (second,)), pairing, only, dropped if alike else (0, 0))


def _common(
    first: pd.DataFrame, second: pd.DataFrame, keys: list[str]
) -> tuple[tuple[pd.DataFrame, pd.DataFrame] | None, tuple[int, int]]:
    """The rows of both tables whose keys are in both, and how many keys of the main arm are in one only.

    None in place of the rows if less than half of the keys of either are in both.
    """
    key = keys[-1]
    main = [set(table.loc[table["arm"] == Arm.MAIN.value, key]) for table in (first, second)]
    both = main[0] & main[1]
    only = (len(main[0]) - len(both), len(main[1]) - len(both))
    if 2 * len(both) < max(map(len, main)) or not both:
        return None, only
    if keys == ["unit_id"]:
        return (first.loc[first[key].isin(both)], second.loc[second[key].isin(both)]), only
    joined = first[keys].merge(second[keys], on=keys)
    rows = [table.merge(joined, on=keys) for table in (first, second)]
    return (rows[0], rows[1]), only
