"""What the page of comparisons answers, over real HTTP: choices, states, lists, matches of a unit, and what it refuses."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support import explorer_pair
from support.explorer_pair import OTHER, OWN, Planted
from support.explorer_server import served
from support.results import labels as labelled

from autointerp.explorer.comparison import compute
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.web.library import INDEX, Library

_LONGEST_S = 120


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    """Two runs with indexes, not compared, and a run without an index."""
    results = tmp_path_factory.mktemp("results")
    truth = explorer_pair.make(results)
    labelled.make(results).close()
    return results, truth


@pytest.fixture
def results(planted: tuple[Path, Planted], tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted[0], tmp_path / "results"))


@pytest.fixture
def url(results: Path) -> Iterator[str]:
    with served(Library(results, results / OWN / INDEX)) as address:
        yield address


def ask(url: str, path: str, body: Any = None, origin: str | None = None) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST with a body."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=60)
    if body is None:
        connection.request("GET", path)
    else:
        connection.request("POST", path, json.dumps(body), {"Origin": origin or url})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if answer.headers["content-type"] == "application/json" else text


def compare(results: Path) -> None:
    sides = [Side(IndexFolder(results / run / INDEX)) for run in (OWN, OTHER)]
    compute.compare(sides[0], sides[1], lambda phase, done, total: None)


def test_the_runs_to_choose_from_say_whether_they_have_an_index(url: str) -> None:
    assert ask(url, "/compare")[0] == 200
    assert ask(url, "/api/compare")[1]["runs"] == [{"run": OTHER, "index": True}, {"run": labelled.RUN, "index": False}]
    assert ask(url, f"/runs/{OTHER}/api/compare")[1]["runs"][0] == {"run": OWN, "index": True}


def test_reading_a_comparison_computes_nothing_and_shows_what_is_known(url: str, results: Path) -> None:
    status, found = ask(url, f"/api/compare?with={OTHER}")
    assert (status, found["state"]) == (200, "new")
    assert [side["name"] for side in found["sides"]] == [OWN, OTHER]
    assert found["lengths"] is None
    assert len(found["distributions"]) == 3
    assert {each["basis"] for each in found["figures"]} == {"census"}
    status, found = ask(url, f"/api/compare/rows?with={OTHER}")
    assert status == 422
    assert "not computed yet" in found["error"]
    assert not list((results / OWN / INDEX).glob("matches-*"))


def test_a_computed_comparison_has_a_verdict_and_lists(planted: tuple[Path, Planted], results: Path, url: str) -> None:
    compare(results)
    truth = planted[1]
    found = ask(url, f"/api/compare?with={OTHER}")[1]
    assert (found["state"], found["relation"]) == ("done", "space")
    assert found["lengths"]["only-own"] == len(truth.only_own)
    assert OTHER in found["grades"]["verdict"]
    assert found["sides"][1]["base"] == f"/runs/{OTHER}/"
    page = ask(url, f"/api/compare/rows?with={OTHER}&sort=number&from=3&limit=5")[1]
    assert page["n"] == found["lengths"]["pairs"]
    assert len(page["rows"]) == 5
    partner = (
        dict(truth.pairs.tolist())
        | {a: b for a, b, _ in truth.splits.tolist()}
        | {b: a for a, b, _ in truth.joins.tolist()}
    )
    assert all(partner[row["own"]["row"]] == row["other"]["row"] for row in page["rows"])
    turned = ask(url, f"/runs/{OTHER}/api/compare?with={OWN}")[1]
    assert turned["lengths"]["only-other"] == len(truth.only_own)


def test_a_copy_of_a_run_that_was_not_compared_yet_is_offered_as_new(url: str, results: Path) -> None:
    shutil.copytree(results / OTHER, results / "copied-33333333")
    compare(results)
    status, found = ask(url, "/api/compare?with=copied-33333333")
    assert (status, found["state"]) == (200, "new")
    assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "done"


@pytest.mark.parametrize("run", [OWN, OTHER])
@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])], ids=["lost", "cut off"]
)
def test_a_comparison_whose_table_is_gone_on_one_side_is_offered_as_new_and_computed_again(
    url: str, results: Path, run: str, damage: Callable[[Path], object]
) -> None:
    compare(results)
    [table] = (results / run / INDEX).glob("matches-*.parquet")
    whole = table.read_bytes()
    damage(table)
    status, found = ask(url, f"/api/compare?with={OTHER}")
    assert (status, found["state"], found["lengths"]) == (200, "new", None)
    status, elsewhere = ask(url, "/api/elsewhere/feature-0")
    assert (status, len(elsewhere)) == (200, int(run == OTHER))
    compare(results)
    assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "done"
    assert table.read_bytes() == whole


def test_a_comparison_whose_table_is_damaged_within_is_said_in_one_line_and_computed_again(
    url: str, results: Path
) -> None:
    compare(results)
    [table] = (results / OWN / INDEX).glob("matches-*.parquet")
    whole = table.read_bytes()
    ends = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    table.write_bytes(bytes(ends) + whole[ends:])
    status, found = ask(url, f"/api/compare?with={OTHER}")
    assert status == 422
    assert f"{table} cannot be read" in found["error"]
    assert "\n" not in found["error"]
    assert ask(url, "/api/elsewhere/feature-0") == (200, [])
    compare(results)
    assert table.read_bytes() == whole


def test_wrong_requests_are_answered_in_one_line(url: str, results: Path) -> None:
    compare(results)
    for path, complaint in (
        (f"/api/compare?with={OWN}", "with itself"),
        (f"/api/compare?with={labelled.RUN}", f"autointerp index {labelled.RUN}"),
        ("/api/compare?with=nothing", "nothing has no index"),
        ("/api/compare?with=..%2F..", "is no run id"),
        ("/api/compare/rows", "is no run id"),
        (f"/api/compare/rows?with={OTHER}&show=all", "is no list"),
        (f"/api/compare/rows?with={OTHER}&from=-1", "no whole number"),
    ):
        status, found = ask(url, path)
        assert (status, complaint in found["error"]) == (422, True), (path, found)
    for body in ({}, [], {"with": 3}, {"with": OWN}):
        assert ask(url, "/api/compare", body)[0] == 422
    assert ask(url, "/api/compare", {"with": OTHER}, origin="http://evil.example")[0] == 403


def test_a_read_only_explorer_shows_comparisons_but_computes_none(results: Path) -> None:
    with served(Library(results, results / OWN / INDEX), read_only=True) as url:
        assert ask(url, "/api/compare", {"with": OTHER})[0] == 403
        assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "new"
        compare(results)
        assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "done"


def test_a_unit_leads_to_its_matches_in_other_dictionaries(
    planted: tuple[Path, Planted], results: Path, url: str
) -> None:
    truth = planted[1]
    own, other = truth.pairs[0].tolist()
    assert ask(url, f"/api/elsewhere/feature-{own}") == (200, [])
    assert ask(url, "/api/elsewhere/feature-9999")[0] == 404
    compare(results)
    explorer_pair.set_labels(IndexFolder(results / OTHER / INDEX), {other: ("names of rivers", 2.5)})
    [found] = ask(url, f"/api/elsewhere/feature-{own}")[1]
    assert (found["run"], found["base"]) == (OTHER, f"/runs/{OTHER}/")
    assert found["nearest"]["unit_id"] == f"feature-{other}"
    assert (found["nearest"]["explanation"], found["nearest"]["grade"]) == ("names of rivers", 2.5)
    assert (found["near"], found["mutual"], found["others"]) == (True, True, [])
    parent, first, second = truth.splits[0].tolist()
    [found] = ask(url, f"/api/elsewhere/feature-{parent}")[1]
    assert found["nearest"]["unit_id"] == f"feature-{first}"
    assert [each["unit_id"] for each in found["others"]] == [f"feature-{second}"]
    [found] = ask(url, f"/api/elsewhere/feature-{truth.only_own[0]}")[1]
    assert not found["near"]
    explorer_pair.change_about(IndexFolder(results / OTHER / INDEX), identity="f" * 64)
    assert ask(url, f"/api/elsewhere/feature-{own}") == (200, [])
    assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "new"


def test_labels_that_are_added_appear_without_a_new_comparison(results: Path, url: str) -> None:
    compare(results)
    before = ask(url, f"/api/compare?with={OTHER}")[1]
    explorer_pair.set_labels(IndexFolder(results / OTHER / INDEX), {})
    after = ask(url, f"/api/compare?with={OTHER}")[1]
    assert before["lengths"]["changed"] > 0
    assert (after["state"], after["lengths"]["changed"]) == ("done", 0)


@pytest.mark.slow
def test_the_page_asks_for_a_comparison_and_the_explorer_answers_meanwhile(results: Path, url: str) -> None:
    assert ask(url, "/api/compare", {"with": OTHER}) == (200, {"state": "waiting"})
    states, end = [], time.monotonic() + _LONGEST_S
    while not states or states[-1] in ("waiting", "running"):
        assert time.monotonic() < end
        states.append(ask(url, f"/api/compare?with={OTHER}")[1]["state"])
        assert ask(url, "/api/rows?limit=1")[0] == 200
        time.sleep(0.05)
    assert states[0] in ("waiting", "running")
    assert states[-1] == "done"
    assert ask(url, "/api/compare", {"with": OTHER})[0] == 200  # nothing is left to do
    assert ask(url, f"/api/compare?with={OTHER}")[1]["state"] == "done"
