"""A second judge for a sample of what the first graded, drawn more often where the first is unsure, with known probabilities.

The second judge's grades correct the first's as people's labels do (`corrected`): no item needs both, and none is trusted more than
its probability allows.
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
"""How many times likelier an item is drawn whose grade the first judge is unsure of."""
MIN_DRAWN = 2
"""Items drawn of a stratum at least: one has no spread."""


class Drawn(NamedTuple):
    """An item that may be graded again: its stratum, its probability of being drawn, and whether it was."""

    item: Item
    stratum: str
    probability: float
    drawn: bool


def sample(ledger: Ledger, run: Run) -> list[Item]:
    """The items that the second judge grades."""
    return [found.item for found in design(ledger, run) if found.drawn]


def design(ledger: Ledger, run: Run) -> list[Drawn]:
    """All items that may be drawn. Strata are a kind's items of which the first judge is sure, and unsure; of each, those first by
    hash are drawn, so that the same run draws the same."""
    assert run.spec.cascade is not None
    with ledger.read() as tx:
        rows = judgements.judgement_rows(tx, run.run_id)
    highest = max(run.rubric.grades)
    strata: dict[tuple[str, bool], list[Item]] = {}
    for row in rows:
        first = row["outcome"] == Outcome.SCORED and row["repeat"] == 0 and not row["judge"]
        if first and row["arm"] in (Arm.MAIN, Arm.BASE_RATE, Arm.NEAR):
            stratum = run.units[str(row["unit_id"])].kind, _unsure(row["score"], row["expected"], highest)
            strata.setdefault(stratum, []).append(_item(row))
    sizes = {key: (len(items), key[1]) for key, items in strata.items()}
    chances = dict(zip(sizes, probabilities(list(sizes.values()), run.spec.cascade.share), strict=True))
    found = []
    for (kind, unsure), items in strata.items():
        items.sort(key=lambda item: content_hash(["second", run.spec.units.seed, item.key]))
        n = min(len(items), max(MIN_DRAWN, round(chances[kind, unsure] * len(items))))
        name = f"{kind} {'unsure' if unsure else 'sure'}"
        found += [Drawn(item, name, n / len(items), place < n) for place, item in enumerate(items)]
    return found


def probabilities(strata: Sequence[tuple[int, bool]], share: float) -> list[float]:
    """For strata of so many items, unsure or not, the shares to draw: `share` of all, unsure ones `UNSURE` times likelier, none above 1."""
    wanted = share * sum(size for size, _ in strata)
    weight = sum(size * (UNSURE if unsure else 1.0) for size, unsure in strata)
    each = wanted / weight if weight else 0.0
    if UNSURE * each <= 1:
        return [each * (UNSURE if unsure else 1.0) for _, unsure in strata]
    certain = sum(size for size, unsure in strata if unsure)
    rest = sum(size for size, unsure in strata if not unsure)
    return [1.0 if unsure else min(1.0, max(0.0, wanted - certain) / max(rest, 1)) for _, unsure in strata]


def _item(row: Mapping[str, object]) -> Item:
    names = ("job_key", "unit_id", "exemplar_id", "arm", "explanation_unit_id")
    key, unit_id, exemplar_id, arm, explained_by = (str(row[name]) for name in names)
    return Item(key, unit_id, exemplar_id, Arm(arm), 0, ExplanationKey.parse(explained_by))


def _unsure(score: object, expected: object, highest: int) -> bool:
    """A grade that is neither the lowest nor the highest, or whose probabilities do not point at one grade."""
    if isinstance(expected, float):
        return abs(expected - round(expected)) > 0.2 or 0 < round(expected) < highest
    return isinstance(score, int) and 0 < score < highest
