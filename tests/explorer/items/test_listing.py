"""A run's items are found by their values and by words of prompts and replies, from the ledger or from the files of a finished run."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from support import explorer_calls
from support.explorer_calls import OUTCOMES, RUN
from support.results import labels as labelled

from autointerp.errors import UsageError
from autointerp.explorer.items import frames, listing, words
from autointerp.explorer.items.listing import Listing, Listings, card
from autointerp.explorer.items.query import Query
from autointerp.ledger import run_items
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import calls, judgements

N = 60


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_service").ledger()
    opened = Ledger.in_folder(tmp_path_factory.mktemp("results"), url)
    explorer_calls.make(opened, N, hostile=["100% of __init__ 'quoted' / slashed"])
    yield opened
    opened.close()


@pytest.fixture
def found_in(ledger: Ledger, tmp_path: Path) -> Listing:
    return Listings(tmp_path, lambda: ledger).of(tmp_path / RUN)


def find(found_in: Listing, **query: str) -> list[str]:
    asked = Query.of_address(query)
    rows, (read, to_read) = found_in.find(asked)
    assert read == to_read
    return [str(each) for each in found_in.frame(asked.of)["id"].iloc[rows]]


def test_every_item_and_call_has_an_address_of_its_own(found_in: Listing) -> None:
    items, made = found_in.frames.items, found_in.frames.calls
    assert len(items) == N + 6 + 1  # grades, explanations, an answer of another evaluation
    assert len(made) == N
    assert items["id"].is_unique
    assert made["id"].is_unique
    assert set(items["kind"]) == {"grade", "explain", "detection"}


def test_items_are_filtered_by_their_values(found_in: Listing) -> None:
    assert len(find(found_in, state="unscored")) == N // 5
    for outcome in OUTCOMES:
        assert len(find(found_in, state=outcome)) == 2
    assert find(found_in, kind="explain", unit="feature-3") == ["explain-feature-3"]
    graded = find(found_in, grade="3", kind="grade")
    scores = found_in.frames.items.set_index("id").loc[graded, "score"]
    assert set(scores) == {3.0}
    assert len(graded) == (found_in.frames.items["score"] == 3).sum()
    newest = find(found_in, of="calls", sort="-at")
    assert newest == [f"call-{number}" for number in sorted((int(each[5:]) for each in newest), reverse=True)]


def test_items_stand_by_unit_in_the_order_of_numbers(tmp_path: Path) -> None:
    opened = Ledger.in_folder(tmp_path)
    explorer_calls.make(opened, 24, units=12)
    items = Listings(tmp_path, lambda: opened).of(tmp_path / RUN).frames.items
    opened.close()
    units = list(dict.fromkeys(items["unit_id"]))
    assert units == [f"feature-{number}" for number in range(12)]
    assert items.groupby("unit_id")["kind"].first().eq("explain").all()


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("mark17", 1),  # in the prompt alone
        ("MARK17", 1),
        ("cannot help", 2),  # in replies that were refused
        ("number 7", 1 + 2),  # `number 7`, and 7 in mark57 and `number 57`, mark27 has another reason
        ("qqqq", 0),
    ],
)
def test_words_are_found_in_prompts_and_replies(found_in: Listing, text: str, n: int) -> None:
    found = find(found_in, q=text, kind="grade")
    if text != "number 7":
        assert len(found) == n
    with found_in.ledger.read() as tx:  # type: ignore[union-attr]
        rows = tx.execute(sa.select(calls.c.job_key, calls.c.user, calls.c.reply)).all()
    shown = found_in.frames.items.set_index("id")
    for job_key, user, reply in rows:
        row = shown.loc[job_key[: frames.ID_CHARACTERS]]
        seen = " ".join([user, reply, row["reason"], row["unit_id"]]).casefold()
        assert (job_key[: frames.ID_CHARACTERS] in found) == all(word in seen for word in text.casefold().split())


@pytest.mark.parametrize("text", ["100%", "__init__", "'quoted'", "/", "o_ t", "%%%"])
def test_wildcards_of_the_database_are_ordinary_characters(found_in: Listing, text: str) -> None:
    found = find(found_in, q=text, of="calls")
    with found_in.ledger.read() as tx:  # type: ignore[union-attr]
        rows = tx.execute(
            sa.select(calls.c.call_id, calls.c.user, calls.c.reply, calls.c.reason, calls.c.job_key)
        ).all()
    units = found_in.frames.calls.set_index("id")["unit_id"]
    expected = [
        f"call-{number}"
        for number, user, reply, reason, _ in rows
        if all(word in " ".join([user, reply, reason, units[f"call-{number}"]]) for word in text.split())
    ]
    assert sorted(found) == sorted(expected)


def test_a_long_search_goes_on_where_it_stopped(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "AT_ONCE", 10)
    monkeypatch.setattr(listing, "READ_S", 0.0)
    found_in, query = Listings(tmp_path, lambda: ledger).of(tmp_path / RUN), Query.of_address({"q": "mark5"})
    seen = [found_in.find(query) for _ in range(3)]
    assert [progress for _, progress in seen] == [(0, N)] * 3
    monkeypatch.setattr(listing, "READ_S", 60.0)
    rows, progress = found_in.find(query)
    assert progress == (N, N)
    assert len(rows) == 1 + 10  # mark5, and mark50 to mark59


def test_scattered_calls_are_found_without_those_between(ledger: Ledger) -> None:
    with ledger.read() as tx:
        ids = list(tx.execute(sa.select(calls.c.call_id).order_by(calls.c.call_id)).scalars())
        some = [ids[0], ids[-1]]
        assert {row[0] for row in run_items.with_words(tx, some, ["mark"])} == set(some)
        assert run_items.with_words(tx, ids, ["mark59", "nowhere"]) == [(ids[-1], 1, 0)]


@pytest.mark.parametrize(
    ("given", "words_of_error"),
    [({"of": "all"}, "neither"), ({"q": "a " * 9}, "at most 8 words"), ({"sort": "x"}, "none of"), ({"grade": "x"}, "whole number")],
)  # fmt: skip
def test_a_wrong_search_is_said(given: dict[str, str], words_of_error: str) -> None:
    with pytest.raises(UsageError, match=words_of_error):
        Query.of_address(given)


def test_an_answer_of_another_run_is_that_of_its_call(tmp_path: Path) -> None:
    opened = Ledger.in_folder(tmp_path)
    explorer_calls.make(opened, 10, unscored_each=0)
    explorer_calls.make(opened, 10, run="later-1", unscored_each=0)
    with opened.write() as tx:
        tx.execute(sa.delete(calls).where(calls.c.run_id == "later-1"))
        first = (
            tx.execute(sa.select(calls.c.call_key).where(calls.c.run_id == RUN).order_by(calls.c.call_id))
            .scalars()
            .first()
        )
        tx.execute(sa.update(judgements).where(judgements.c.run_id == "later-1").values(call_key=first))
    found_in = Listings(tmp_path, lambda: opened).of(tmp_path / "later-1")
    grades = found_in.frames.items.loc[found_in.frames.items["kind"] == "grade"]
    assert grades["call_id"].eq(1).all()
    assert len(find(found_in, q="mark0", kind="grade")) == 10  # in the prompt of the other run's call
    opened.close()


def test_without_the_ledger_the_files_have_the_same_grades_under_the_same_addresses(tmp_path: Path) -> None:
    ledger = labelled.make(tmp_path)
    run = tmp_path / labelled.RUN
    shutil.rmtree(run / "index", ignore_errors=True)
    table = pd.read_parquet(run / "judgements.parquet")
    alone = Listings(tmp_path, lambda: None).of(run)
    items = alone.frames.items
    grades = items.loc[items["kind"] == "grade"]
    assert "ledger does not know" in alone.frames.missing
    assert sorted(grades["exemplar_id"]) == sorted(table["exemplar_id"])
    assert grades["score"].sum() == table["score"].sum()
    known = Listings(tmp_path, lambda: ledger).of(run).frames.items
    assert sorted(known.loc[known["kind"] == "explain", "id"]) == sorted(items.loc[items["kind"] == "explain", "id"])
    shown = card(alone, "items", next(grades.itertuples(index=False)))
    assert shown["window"] is not None
    assert shown["cost_usd"] != shown["cost_usd"]  # not known, and null on the page
    ledger.close()


def test_a_run_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run nowhere"):
        Listings(tmp_path, lambda: None).of(tmp_path / "nowhere")


def test_a_live_run_is_shown_as_it_was_until_it_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Ledger.in_folder(tmp_path)
    explorer_calls.make(opened, 10, state="running")
    listings, may_read = Listings(tmp_path, lambda: opened), threading.Event()
    may_read.set()
    read = frames.of_ledger
    monkeypatch.setattr(listing.frames, "of_ledger", lambda tx, run: (may_read.wait(60), read(tx, run))[1])
    assert len(listings.of(tmp_path / RUN).frames.calls) == 10
    with opened.write() as tx:
        tx.execute(sa.delete(judgements).where(judgements.c.run_id == RUN))
    monkeypatch.setattr(listing, "MAX_LOAD", 1e9)
    may_read.clear()
    assert (
        listings.of(tmp_path / RUN).frames.items["kind"] == "grade"
    ).sum() == 10  # while it is being read, or still new
    may_read.set()
    assert (listings.of(tmp_path / RUN, newest=True).frames.items["kind"] == "grade").sum() == 0
    opened.close()
