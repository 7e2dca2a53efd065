"""Rows of nights, dictionaries and anchors, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autointerp.ledger import nights
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import COPY, QUEUED, WAITING, Anchor, DictionaryVersion

DATE = "2026-11-21"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        opened = Ledger.in_folder(tmp_path)
    else:
        opened = Ledger.open(request.getfixturevalue("postgres_service").ledger())
    yield opened
    opened.close()


def version(key: str, fingerprint: str, **changes: object) -> DictionaryVersion:
    fields: dict[str, object] = {"lineage": "sae", "path": f"/\udcff/{key}", "state": WAITING, "first_seen": 1.0}
    return DictionaryVersion(key, fingerprint, **fields | changes)  # type: ignore[arg-type]


def test_a_night_is_opened_once_and_keeps_its_notes(ledger: Ledger) -> None:
    with ledger.write() as tx:
        first = nights.begin(tx, DATE, 1.0)
        nights.add_notes(tx, DATE, ["a", "b\nc"])
        nights.add_notes(tx, DATE, ["a", "d"])
    with ledger.write() as tx:
        again = nights.begin(tx, DATE, 2.0)
        assert (again["started_at"], again["usd"], again["state"]) == (first["started_at"], 2.0, nights.RUNNING)
        assert again["note"].splitlines() == ["a", "b c", "d"]
        assert nights.unfinished(tx) == [DATE]
        nights.end(tx, DATE)
    with ledger.write() as tx:
        done = nights.begin(tx, DATE, 3.0)
        assert (done["state"], done["usd"]) == (nights.DONE, 2.0)
        assert nights.unfinished(tx) == []


def test_equal_weights_have_one_row_and_one_run(ledger: Ledger) -> None:
    def find(i: int) -> str:
        with ledger.write() as tx:
            return nights.add(tx, version(f"k{i}", "w")).state

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(find, range(16)))
    assert sorted(states) == [COPY] * 15 + [WAITING]
    with ledger.read() as tx:
        original = nights.original_of(tx, "w")
    assert original is not None

    def claim(_: int) -> bool:
        with ledger.write() as tx:
            if not nights.claim(tx, original.dictionary_key, DATE, 0.5):
                return False
            nights.update(tx, original.dictionary_key, run_id="r")
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(16))) == 1
    with ledger.write() as tx:
        [begun] = [v for v in nights.of_night(tx, DATE) if v.state == QUEUED]
        assert (begun.run_id, begun.forecast_usd) == ("r", 0.5)
        nights.assign_finds(tx, DATE)
        assert len(nights.of_night(tx, DATE)) == 16


def test_anchors_are_chosen_once_and_answered_every_night(ledger: Ledger) -> None:
    chosen = [Anchor(i, f"feature-{i}", i % 4, "an <explanation>", ("a\ud83d", " b\0"), 1) for i in range(3)]
    with ledger.write() as tx:
        nights.add_anchors(tx, "set", "2026-11-20", chosen)
        nights.add_anchors(tx, "set", "2026-11-20", [Anchor(0, "other", 0, "", (), 0)])
        nights.add_anchors(tx, "set", DATE, nights.anchors_of(tx, "set"))
        for number, grade in ((0, 3), (2, None)):
            nights.answer_anchor(tx, "set", number, DATE, outcome="scored", score=grade, call_key="k")
    with ledger.read() as tx:
        assert nights.anchors_of(tx, "set") == chosen
        assert nights.anchor_scores(tx, "set") == [(DATE, 0, "feature-0", 3)]
        assert nights.anchors_of(tx, "another") == []
