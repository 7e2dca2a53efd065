"""Notes and lists over HTTP: kept by dictionary, changed by nobody unseen, and found by the search."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from support import explorer_calls, explorer_index
from support.explorer_http import get, send
from support.explorer_server import served
from support.hostile_text import WORDS

from autointerp.explorer.web.library import Library
from autointerp.ledger.database import Ledger
from autointerp.ledger.own import lists as lists_
from autointerp.ledger.own.lists import MOST_NAME
from autointerp.ledger.own.notes import MOST_CHARACTERS


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path, explorer_index.make(tmp_path / "index", n_features=30, n_neurons=2).path)


@pytest.fixture
def url(library: Library) -> Iterator[str]:
    with served(library) as address:
        yield address


def kept(results: Path) -> AbstractContextManager[Ledger]:
    return closing(Ledger.in_folder(results))


def write(url: str, text: str, version: int, unit: str = "feature-3") -> tuple[int, Any]:
    return send(url, f"/api/notes/{unit}", {"text": text, "version": version}, "PUT")


def make(url: str, name: str, *units: str) -> dict[str, Any]:
    status, made = send(url, "/api/lists", {"name": name, "unit_ids": list(units)})
    assert status == 201, made
    return dict(made)


def found(url: str, query: str) -> list[str]:
    return [row["unit_id"] for row in get(url, f"/api/rows?{query}")[1]["rows"]]


def test_the_first_note_makes_the_ledger(url: str, tmp_path: Path) -> None:
    assert get(url, "/api/notes/feature-3")[1] == {"unit_id": "feature-3", "text": "", "version": 0, "changed_at": None}
    assert get(url, "/api/lists")[1] == {"lists": [], "noted": 0}
    assert not (tmp_path / "ledger.sqlite").exists()
    status, note = write(url, "  seen before\nin code ", 0)
    assert (status, note["text"], note["version"]) == (200, "seen before\nin code", 1)
    assert (tmp_path / "ledger.sqlite").exists()
    assert get(url, "/api/notes/feature-3")[1] == note


def test_every_page_reads_a_ledger_that_a_note_has_made(url: str, tmp_path: Path) -> None:
    write(url, "seen before", 0)
    with kept(tmp_path) as ledger:
        explorer_calls.make(ledger, 5)
    assert [row["run_id"] for row in get(url, "/api/runs")[1]["runs"]] == [explorer_calls.RUN]
    assert get(url, f"/runs/{explorer_calls.RUN}/api/about")[1]["stages"]
    assert get(url, f"/runs/{explorer_calls.RUN}/api/calls")[1]["has_calls"]


def test_every_page_reads_a_ledger_that_another_program_makes_later(url: str, tmp_path: Path, library: Library) -> None:
    run = f"/runs/{explorer_calls.RUN}"
    assert get(url, "/api/runs")[1]["runs"] == []
    assert [get(url, f"{run}/api/{name}")[0] for name in ("about", "calls")] == [422, 422]
    assert get(url, "/api/lists")[1] == {"lists": [], "noted": 0}
    with kept(tmp_path) as ledger:
        explorer_calls.make(ledger, 5)
        with served(library, ledger) as other:
            write(other, "by another", 0)
            make(other, "theirs", "feature-1")
    assert [row["run_id"] for row in get(url, "/api/runs")[1]["runs"]] == [explorer_calls.RUN]
    assert get(url, f"{run}/api/about")[1]["stages"]
    assert get(url, f"{run}/api/events?after=0")[1]
    assert get(url, f"{run}/api/calls")[1]["has_calls"]
    assert get(url, "/api/notes/feature-3")[1]["text"] == "by another"
    assert found(url, "noted=yes") == ["feature-3"]
    assert [each["name"] for each in get(url, "/api/lists")[1]["lists"]] == ["theirs"]


def test_a_later_ledger_that_cannot_be_opened_is_said_in_one_line(url: str, tmp_path: Path) -> None:
    assert get(url, "/api/runs")[0] == 200
    (tmp_path / "ledger.sqlite").touch()
    status, answer = get(url, "/api/runs")
    assert (status, "is empty (0 bytes)" in answer["error"]) == (422, True)
    (tmp_path / "ledger.sqlite").unlink()
    assert get(url, "/api/runs")[0] == 200


def test_a_note_that_was_changed_meanwhile_is_not_overwritten(url: str) -> None:
    assert write(url, "first", 0)[0] == 200
    assert write(url, "second", 1)[0] == 200
    status, answer = write(url, "lost?", 1)
    assert status == 409
    assert answer["error"].startswith("the note of feature-3 was changed in another window")
    assert (answer["note"]["text"], answer["note"]["version"]) == ("second", 2)
    assert write(url, "another's first", 0)[0] == 409
    assert write(url, "", 2)[0] == 200  # deleted, and still no note for an older change
    assert write(url, "lost?", 0)[0] == 409
    assert found(url, "noted=yes") == []


def test_notes_and_lists_are_there_in_another_index_of_the_dictionary(
    library: Library, url: str, tmp_path: Path
) -> None:
    write(url, "kept", 0)
    make(url, "kept too", "feature-1")
    other = shutil.copytree(tmp_path / "index", tmp_path / "again")
    about = json.loads((other / "index.json").read_text())
    (other / "index.json").write_text(json.dumps(about | {"identity": "of another corpus", "run": "another-run"}))
    with kept(tmp_path) as ledger, served(Library(tmp_path, other), ledger) as again:
        assert get(again, "/api/notes/feature-3")[1]["text"] == "kept"
        assert [each["name"] for each in get(again, "/api/lists")[1]["lists"]] == ["kept too"]
    about["dictionary"]["hook_point"] = "layers.3.resid_post"
    (other / "index.json").write_text(json.dumps(about))
    with kept(tmp_path) as ledger, served(Library(tmp_path, other), ledger) as elsewhere:
        assert get(elsewhere, "/api/notes/feature-3")[1]["text"] == ""
        assert get(elsewhere, "/api/lists")[1]["lists"] == []
        one = get(url, "/api/lists")[1]["lists"][0]["list_id"]
        assert get(elsewhere, f"/api/lists/{one}")[0] == 422


def test_a_list_is_made_changed_emptied_deleted_and_brought_back(url: str) -> None:
    made = make(url, "  cities \n of  France ", "feature-7", "feature-3", "feature-7")
    assert (made["name"], made["n"], made["deleted"]) == ("cities of France", 2, False)
    address = f"/api/lists/{made['list_id']}"
    assert [unit["unit_id"] for unit in get(url, address)[1]["units"]] == ["feature-7", "feature-3"]
    assert send(url, address, {"add": ["feature-1", "feature-3"], "remove": ["feature-7"]}, "PUT")[1]["n"] == 2
    assert [unit["unit_id"] for unit in get(url, address)[1]["units"]] == ["feature-3", "feature-1"]
    assert send(url, address, {"name": "towns"}, "PUT")[1]["name"] == "towns"
    has = {each["name"]: each["has"] for each in get(url, "/api/lists?unit=feature-1")[1]["lists"]}
    assert has == {"towns": True}
    assert send(url, address, {"unit_ids": []}, "PUT")[1]["n"] == 0
    send(url, address, {"unit_ids": ["feature-9"]}, "PUT")
    assert send(url, address, {}, "DELETE")[1]["deleted"]
    assert get(url, "/api/lists")[1]["lists"] == []
    make(url, "towns")
    status, problem = send(url, address, {"deleted": False}, "PUT")
    assert (status, problem["error"]) == (422, "there is a list named 'towns' already: choose another name")
    send(url, address, {"name": "towns again", "deleted": False}, "PUT")
    other = get(url, "/api/lists")[1]["lists"][0]["list_id"]
    send(url, f"/api/lists/{other}", {}, "DELETE")
    assert send(url, address, {"deleted": False}, "PUT")[1]["n"] == 1


def test_a_search_finds_the_units_of_a_list_in_its_order_and_those_with_a_note(url: str) -> None:
    units = ["feature-9", "feature-2", "neuron-0-", "feature-20"]
    one = make(url, "mine", *units)["list_id"]
    write(url, "a note", 0, "feature-2")
    write(url, "a note", 0, "feature-5")
    assert found(url, f"list={one}") == units
    assert found(url, f"list={one}&kind=feature") == ["feature-2", "feature-9", "feature-20"]
    densities = [get(url, f"/api/units/{unit}")[1]["density"] for unit in found(url, f"list={one}&sort=-density")]
    assert densities == sorted(densities, reverse=True)
    assert found(url, "noted=yes") == ["feature-2", "feature-5"]
    assert found(url, f"list={one}&noted=yes") == ["feature-2"]
    assert len(found(url, "noted=no")) == 30
    within = get(url, f"/api/units/feature-2?list={one}")[1]["within"]
    assert (within["n"], within["place"], within["previous"], within["next"]) == (4, 1, "feature-9", "neuron-0-")
    assert get(url, "/api/rows?list=99")[0] == 422
    assert get(url, "/api/rows?list=mine")[0] == 422
    assert get(url, "/api/rows?noted=perhaps")[0] == 422


def test_a_list_is_exported_with_explanations_and_notes(url: str) -> None:
    hostile = '=HYPERLINK("http://evil.example";"x")'
    write(url, hostile, 0)
    one = make(url, "mine", "feature-3", "feature-4")["list_id"]
    read = get(url, f"/api/lists/{one}/units.json")[1]
    assert read["name"] == "mine"
    assert read["dictionary"]["hook_point"] == "layers.2.resid_post"
    assert [unit["note"] for unit in read["units"]] == [hostile, None]
    [first, second] = csv.DictReader(io.StringIO(get(url, f"/api/lists/{one}/units.csv")[1]))
    assert (first["unit_id"], first["note"], second["note"]) == ("feature-3", f"'{hostile}", "")
    explained = {unit["unit_id"]: unit["explanation"] or "" for unit in read["units"]}
    assert {row["unit_id"]: row["explanation"] for row in (first, second)} == explained
    assert get(url, "/api/lists/99/units.csv")[0] == 422


@pytest.mark.parametrize("body", [None, [], {"name": 3}, {"name": " "}, {"name": "x" * (MOST_NAME + 1)}, {"name": "a", "unit_ids": "feature-1"},
                                  {"name": "a", "unit_ids": ["feature-1000"]}, {"name": "a", "unit_ids": [1]}])  # fmt: skip
def test_a_wrong_list_is_refused_in_a_sentence(url: str, body: Any) -> None:
    status, answer = send(url, "/api/lists", body)
    assert status == 422
    assert answer["error"]
    assert get(url, "/api/lists")[1]["lists"] == []


def test_what_no_database_can_store_is_no_error_of_the_server(url: str) -> None:
    assert make(url, "a\x00b\ud800", "feature-1")["name"] == "a\u2400b\ufffd"
    status, answer = send(url, "/api/lists", {"name": "b", "unit_ids": ["\ud800"]})
    assert (status, answer["error"]) == (422, "the index has no unit '\ufffd': leave it out")
    for method in ("GET", "PUT", "DELETE"):
        assert send(url, f"/api/lists/{10**30}", {"name": "c"} if method == "PUT" else None, method)[0] == 422
    assert get(url, f"/api/lists?unit={'x' * 400}")[1]["lists"][0]["has"] is False


def test_lengths_and_numbers_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write(url, "x" * MOST_CHARACTERS, 0)[0] == 200
    assert "shorten it to 10,000" in write(url, "x" * (MOST_CHARACTERS + 1), 1)[1]["error"]
    monkeypatch.setattr(lists_, "MOST_LISTS", 2)
    monkeypatch.setattr(lists_, "MOST_UNITS", 2)
    one = make(url, "one", "feature-1", "feature-2")["list_id"]
    make(url, "two")
    assert send(url, "/api/lists", {"name": "three", "unit_ids": []})[0] == 422
    assert send(url, f"/api/lists/{one}", {"add": ["feature-3"]}, "PUT")[0] == 422
    assert get(url, f"/api/lists/{one}")[1]["n"] == 2
    assert send(url, f"/api/lists/{one}", {"units": []}, "PUT")[0] == 422
    assert write(url, "text", True)[0] == 422  # type: ignore[arg-type]


def test_hostile_texts_come_back_as_they_were(url: str) -> None:
    text = "\n".join(word for word in WORDS if "\x00" not in word)[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
    assert write(url, text, 0)[1]["text"] == text.strip()
    make(url, "<img src=x onerror=alert(1)>")
    assert "<img src=x" not in get(url, "/lists")[1]
    assert write(url, "\ud800 \x00", 1)[1]["text"] == "\ufffd \u2400"


def test_changes_are_refused_from_other_sites_and_read_only(library: Library, url: str, tmp_path: Path) -> None:
    write(url, "mine", 0)
    evil = "http://evil.example"
    assert send(url, "/api/notes/feature-3", {"text": "", "version": 1}, "PUT", origin=evil)[0] == 403
    assert send(url, "/api/lists", {"name": "a"}, origin=evil)[0] == 403
    with kept(tmp_path) as ledger, served(library, ledger, read_only=True) as read:
        assert write(read, "other", 1)[0] == 403
        assert send(read, "/api/lists", {"name": "a", "unit_ids": []})[0] == 403
        assert get(read, "/api/notes/feature-3")[1]["text"] == "mine"
        assert 'data-own="read"' in get(read, "/u/feature-3")[1]
    with served(Library(tmp_path / "empty", library.main), read_only=True) as nothing:
        assert 'data-own=""' in get(nothing, "/u/feature-3")[1]
        assert get(nothing, "/lists")[0] == 200
