"""What is judged of an explanation: a unit's held-out examples, and two controls.

The controls are those that a unit of an index allows. `shuffled`: its examples under the explanation of another unit, if the index has one.
`silent`: tokens of other units, under its own explanation. Windows of neighbours in which the unit is known to be silent, planted units and
random weights need the model, and only a run has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from sqlalchemy import RowMapping

from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.schema import PROPAGATED
from autointerp.explorer.labels.windows import Windows
from autointerp.hashing import content_hash
from autointerp.questions.planned_jobs import across_bins, item_of
from autointerp.records import Arm, Explanation, ExplanationKey, Item, Outcome
from autointerp.stats.comparison import arm_means, scored_rows

_DIGITS = 10
"""Of the hash of an explanation, in the key of what is asked about it."""


@dataclass(frozen=True)
class Judged:
    """The explanation of a unit that is to be judged, its items, and the explanations that they show."""

    row: int
    unit_id: str
    text: str
    items: tuple[Item, ...]
    shown: Mapping[ExplanationKey, str]


class Texts:
    """The labels of an index: which explanation leads for each unit, and which other unit's stands in a shuffled control."""

    def __init__(self, index: IndexFolder) -> None:
        labels = index.table(LABELS, ["row", "explanation", "source"])
        own = pc.not_equal(labels["source"], PROPAGATED).to_numpy(zero_copy_only=False)
        rows = labels["row"].to_numpy()
        self._places: dict[int, int] = {}
        for places in (np.flatnonzero(own), np.flatnonzero(~own)):
            for place in places:
                self._places.setdefault(int(rows[place]), int(place))
        self._texts = labels["explanation"]
        self._rows = np.unique(rows[own]).astype(np.uint64)

    def leading(self, row: int) -> str | None:
        """The explanation that a unit's page shows first; None without any."""
        place = self._places.get(row)
        return None if place is None else str(self._texts[place].as_py())

    def of_another(self, row: int, alike: Sequence[int]) -> tuple[int, str] | None:
        """Another unit with its explanation: mostly the same one when further labels are there. None if the index has no other."""
        free = self._rows[~np.isin(self._rows, [row, *alike])]
        if not len(free):
            return None
        mixed = (free * np.uint64(2654435761) ^ np.uint64(row * 40503 + 1)) * np.uint64(0x9E3779B97F4A7C15)
        other = int(free[np.argmin(mixed)])
        return other, str(self._texts[self._places[other]].as_py())


def judged(windows: Windows, texts: Texts, row: int, text: str) -> Judged:
    """What is asked about an explanation of a unit."""
    unit, spec = windows.unit(row), windows.spec
    exemplars = windows.exemplars(row)
    main = [e for e in exemplars if e.role == "score"]
    own = _key(unit.unit_id, text)
    items = [item_of(e, Arm.MAIN, own, repeat) for e in main for repeat in range(spec.score.repeats)]
    shown = {own: text}
    found = windows.row(row)
    alike = [each["row"] for name in ("nearest", "together") for each in found[name] or ()]
    if spec.controls.shuffled and (other := texts.of_another(row, alike)):
        by = _key(windows.unit_id(other[0]), other[1])
        shown[by] = other[1]
        items += [item_of(e, Arm.SHUFFLED, by) for e in across_bins(main, spec.controls.shuffled)]
    items += [item_of(e, Arm.BASE_RATE, own) for e in exemplars if e.role == "quiet"]
    return Judged(row, unit.unit_id, text, tuple(items), shown)


def explanations(all_judged: Sequence[Judged]) -> dict[ExplanationKey, Explanation]:
    """The explanations that the items of several units show."""
    texts = {key: text for one in all_judged for key, text in one.shown.items()}
    return {key: Explanation(key, Outcome.SCORED, text, "", None) for key, text in texts.items()}


def grades(
    windows: Windows, all_judged: Sequence[Judged], known: Mapping[str, RowMapping]
) -> dict[int, dict[str, Any]]:
    """By row, the columns of a label that follow from the judgements of its items, by key. Grades are means over bins, as in a run."""
    rows = []
    for one in all_judged:
        bins = {e.exemplar_id: e.bin for e in windows.exemplars(one.row)}
        here = [item for item in one.items if item.key in known]
        rows += [dict(known[item.key]) | {"unit_id": one.unit_id, "bin": bins[item.exemplar_id]} for item in here]
    if not rows:
        return {}
    frame = pd.DataFrame(rows).astype({"score": "Int64", "expected": "float64"})
    judged_units = set(frame["unit_id"])
    means = {arm: arm_means(frame, arm) for arm in (Arm.MAIN, Arm.BASE_RATE, Arm.SHUFFLED)}
    scored = scored_rows(frame.loc[frame["arm"] == Arm.MAIN.value]).groupby("unit_id")["exemplar_id"].nunique()
    return {
        one.row: {
            "grade": _number(means[Arm.MAIN].get(one.unit_id)),
            "graded": int(scored.get(one.unit_id, 0)),
            "silent_grade": _number(means[Arm.BASE_RATE].get(one.unit_id)),
            "shuffled_grade": _number(means[Arm.SHUFFLED].get(one.unit_id)),
        }
        for one in all_judged
        if one.unit_id in judged_units
    }


def _key(unit_id: str, text: str) -> ExplanationKey:
    """The key of one explanation of a unit, which may have several."""
    return ExplanationKey(unit_id, content_hash(text)[:_DIGITS])


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
