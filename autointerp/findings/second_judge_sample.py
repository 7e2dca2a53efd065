"""The sample of judged items that a second judge grades again, with known sampling probabilities.

Items are drawn more often if the first judge is unsure of them. The second judge's grades correct the first judge's as people's labels
do (`stats.prediction_powered`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autointerp.hashing import content_hash
from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.records import Arm, ExplanationKey, Item, Outcome
from autointerp.run import Run

UNSURE = 3.0
"""How many times as likely an item is drawn if the first judge is unsure of its grade."""
MIN_DRAWN = 2
"""Least number of items drawn from a stratum, because one item has no variance."""


class Drawn(NamedTuple):
    """An item of the population: its stratum, its probability of being drawn, and whether it was drawn."""

    item: Item
    stratum: str
    probability: float
    drawn: bool


def sample(ledger: Ledger, run: Run) -> list[Item]:
    """The items that the second judge grades."""
    return [candidate.item for candidate in design(ledger, run) if candidate.drawn]


def design(ledger: Ledger, run: Run) -> list[Drawn]:
    """All items that may be drawn, and whether they were.

    The strata are, for each kind of unit, the items of which the first judge is sure and those of which it is unsure. From each, the
    items of lowest hash are drawn, so that the same run always draws the same items.
    """
    assert run.spec.cascade is not None
    with ledger.read() as tx:
        rows = judgements.judgement_rows(tx, run.run_id)
    highest = max(run.rubric.grades)
    strata: dict[tuple[str, bool], list[Item]] = {}
    for row in rows:
        is_first_grade = row["outcome"] == Outcome.SCORED and row["repeat"] == 0 and not row["judge"]
        if is_first_grade and row["arm"] in (Arm.MAIN, Arm.BASE_RATE, Arm.NEAR):
            stratum = run.units[str(row["unit_id"])].kind, _unsure(row["score"], row["expected"], highest)
            strata.setdefault(stratum, []).append(_item(row))
    sizes = {key: (len(items), key[1]) for key, items in strata.items()}
    chances = dict(zip(sizes, probabilities(list(sizes.values()), run.spec.cascade.share), strict=True))
    population = []
    for (kind, unsure), items in strata.items():
        items.sort(key=lambda item: content_hash(["second", run.spec.units.seed, item.key]))
        n = min(len(items), max(MIN_DRAWN, round(chances[kind, unsure] * len(items))))
        name = f"{kind} {'unsure' if unsure else 'sure'}"
        population += [Drawn(item, name, n / len(items), place < n) for place, item in enumerate(items)]
    return population


def probabilities(strata: Sequence[tuple[int, bool]], share: float) -> list[float]:
    """The share to draw from each stratum, given its number of items and whether the first judge is unsure of them.

    Together they amount to `share` of all items. Unsure items are `UNSURE` times as likely to be drawn, up to a probability of 1.
    """
    n_drawn = share * sum(size for size, _ in strata)
    weight = sum(size * (UNSURE if unsure else 1.0) for size, unsure in strata)
    each = n_drawn / weight if weight else 0.0
    if UNSURE * each <= 1:
        return [each * (UNSURE if unsure else 1.0) for _, unsure in strata]
    certain = sum(size for size, unsure in strata if unsure)
    rest = sum(size for size, unsure in strata if not unsure)
    return [1.0 if unsure else min(1.0, max(0.0, n_drawn - certain) / max(rest, 1)) for _, unsure in strata]


def _item(row: Mapping[str, object]) -> Item:
    names = ("job_key", "unit_id", "exemplar_id", "arm", "explanation_unit_id")
    key, unit_id, exemplar_id, arm, explained_by = (str(row[name]) for name in names)
    return Item(key, unit_id, exemplar_id, Arm(arm), 0, ExplanationKey.parse(explained_by))


def _unsure(score: object, expected: object, highest: int) -> bool:
    """Whether a grade is neither the lowest nor the highest, or the judge's token probabilities do not favour a single grade."""
    if isinstance(expected, float):
        return abs(expected - round(expected)) > 0.2 or 0 < round(expected) < highest
    return isinstance(score, int) and 0 < score < highest
