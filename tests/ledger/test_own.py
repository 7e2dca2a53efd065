"""Notes and lists in both databases, written at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from autointerp.errors import UsageError
from autointerp.ledger.database import Ledger
from autointerp.ledger.own import lists, notes


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "sqlite":
        opened = Ledger.in_folder(request.getfixturevalue("tmp_path"))
    else:
        opened = Ledger.open(str(request.getfixturevalue("postgres_service").ledger()))
    yield opened
    opened.close()


def test_of_changes_at_the_same_time_one_is_kept_and_the_others_are_refused(ledger: Ledger) -> None:
    def write(number: int, version: int) -> str:
        try:
            with ledger.write() as tx:
                return notes.write(tx, "dictionary", "feature-1", f"note {number}", version).text
        except notes.Outdated:
            return ""

    with ThreadPoolExecutor(4) as pool:
        for version in range(3):
            written = [text for text in pool.map(write, range(4), [version] * 4) if text]
            assert len(written) == 1
            with ledger.read() as tx:
                note = notes.note_of(tx, "dictionary", "feature-1")
            assert (note.text, note.version) == (written[0], version + 1)


def test_of_lists_of_one_name_made_at_the_same_time_there_is_one(ledger: Ledger) -> None:
    def make(number: int) -> bool:
        try:
            with ledger.write() as tx:
                lists.make(tx, "dictionary", "the same", [f"feature-{number}"])
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(make, range(4))) == 1
    with ledger.write() as tx:
        [made] = lists.all_lists(tx, "dictionary")
        assert made.n == 1
        lists.make(tx, "another", "the same", [])
        lists.delete(tx, made.list_id)
        lists.make(tx, "dictionary", "the same", ["feature-2", "feature-1", "feature-2"])
        [again] = lists.all_lists(tx, "dictionary")
        assert lists.units(tx, again.list_id) == ["feature-2", "feature-1"]
        with pytest.raises(UsageError, match="already"):
            lists.restore(tx, "dictionary", made.list_id)


def test_a_note_counts_while_it_has_a_text(ledger: Ledger) -> None:
    with ledger.write() as tx:
        notes.write(tx, "dictionary", "feature-1", "one", 0)
        notes.write(tx, "dictionary", "feature-2", "two", 0)
        notes.write(tx, "other", "feature-3", "three", 0)
        notes.write(tx, "dictionary", "feature-1", "", 1)
        assert notes.noted(tx, "dictionary") == ["feature-2"]
        wanted = [f"feature-{n}" for n in range(1200)]
        assert notes.texts(tx, "dictionary", wanted) == {"feature-2": "two"}
