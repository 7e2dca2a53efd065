"""The pages of runs and their judgements over real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support import explorer_calls
from support.explorer_calls import RUN, SYSTEM
from support.explorer_server import served

from autointerp.explorer.web.library import Library
from autointerp.ledger.database import Ledger

N = 40
HOSTILE = "<img/src=x/onerror=window.pwned=1>"
KEY = "sk-ant-api03-abcdefghijklmnop"


@pytest.fixture(scope="module")
def keys() -> list[str]:
    return []


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> Iterator[str]:
    results = tmp_path_factory.mktemp("results")
    ledger = Ledger.in_folder(results)
    keys += explorer_calls.make(ledger, N, hostile=[HOSTILE])
    explorer_calls.add_failed_attempt(ledger, keys[1], f"anthropic answered 500: {KEY}")
    with served(Library(results, None), ledger) as address:
        yield address
    ledger.close()


def ask(url: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url + path) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def get(url: str, path: str) -> Any:
    status, body = ask(url, path)
    assert status == 200, body
    return json.loads(body)


@pytest.mark.parametrize(
    "path", ["/runs", f"/runs/{RUN}/about", f"/runs/{RUN}/calls", f"/runs/{RUN}/calls/explain-feature-0"]
)
def test_pages_are_served_for_a_run_without_an_index(url: str, path: str) -> None:
    status, body = ask(url, path)
    assert status == 200
    assert "search" not in body.split("<nav")[1].split("</nav>")[0]  # a run without an index has no search page
    assert 'href="/runs" aria-current="page"' in body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/nowhere/about", 422),
        ("/runs/nowhere/api/about", 422),
        ("/runs/nowhere/api/calls", 422),
        (f"/runs/{RUN}/api/calls/nothing", 404),
        (f"/runs/{RUN}/api/calls/call-999999", 404),
        (f"/runs/{RUN}/api/calls?from=x", 422),
        (f"/runs/{RUN}/api/calls?grade=high", 422),
        (f"/runs/{RUN}/api/events?after=-1", 422),
        ("/runs/%2e%2e/about", 422),
        ("/runs/.hidden/api/calls", 422),
    ],
)
def test_wrong_addresses_are_said_in_a_line(url: str, path: str, status: int) -> None:
    given, body = ask(url, path)
    assert given == status
    if "/api/" in path:
        message = json.loads(body)["error"]
        assert message
        assert "\n" not in message


def test_the_list_says_who_carries_a_run(url: str) -> None:
    """The page tells that no workers are alive for runs of the queue alone."""
    assert [(row["run_id"], row["carrier"]) for row in get(url, "/api/runs")["runs"]] == [(RUN, "local")]


def test_items_are_listed_by_pages(url: str) -> None:
    first = get(url, f"/runs/{RUN}/api/calls?limit=10")
    rest = get(url, f"/runs/{RUN}/api/calls?from=10&limit=200")
    assert first["n"] == first["of"] == len(first["rows"]) + len(rest["rows"])
    assert first["facets"]["state"]["refusal"] == 2
    assert not first["live"]
    assert len({row["id"] for row in first["rows"] + rest["rows"]}) == first["of"]


def test_an_item_leads_through_those_of_the_search(url: str) -> None:
    query = "kind=grade&state=unscored"
    ids = [row["id"] for row in get(url, f"/runs/{RUN}/api/calls?{query}")["rows"]]
    for place, item in enumerate(ids):
        within = get(url, f"/runs/{RUN}/api/calls/{item}?{query}")["within"]
        assert (within["place"], within["n"]) == (place, len(ids))
        assert within["next"] == (ids[place + 1] if place + 1 < len(ids) else None)
        assert within["previous"] == (ids[place - 1] if place else None)


def test_an_item_is_as_it_was_asked(url: str, keys: list[str]) -> None:
    given = get(url, f"/runs/{RUN}/api/calls/{keys[1][:20]}")
    assert given["prompt"]["system"] == SYSTEM
    assert "<<mark1>>" in given["prompt"]["user"]
    answered, failed = sorted(given["calls"], key=lambda call: call["state"] == "error")
    assert given["main"] == answered["call_id"]
    assert json.loads(answered["reply"])["grade"] == given["item"]["grade"] == 1
    assert (failed["state"], KEY in json.dumps(given)) == ("error", False)
    assert failed["user"] is None  # the same question
    why = get(url, f"/runs/{RUN}/api/calls/{keys[1][:20]}/rebuilt")
    assert why["prompt"] is None
    assert "no harvest yet" in why["why"]


def test_hostile_texts_are_data_and_never_part_of_a_page(url: str, keys: list[str]) -> None:
    assert get(url, f"/runs/{RUN}/api/calls/{keys[0][:20]}")["item"]["explanation"] == HOSTILE
    for path in (
        f"/runs/{RUN}/calls",
        f"/runs/{RUN}/calls/{keys[0][:20]}",
        f"/runs/{RUN}/calls/{quote(HOSTILE, safe='')}",
    ):
        assert HOSTILE not in ask(url, path)[1]


def test_a_whole_word_of_one_prompt_finds_its_item(url: str, keys: list[str]) -> None:
    [row] = get(url, f"/runs/{RUN}/api/calls?q=mark39")["rows"]
    assert row["id"] == keys[39][:20]
    [call] = get(url, f"/runs/{RUN}/api/calls?of=calls&q=mark39")["rows"]
    assert get(url, f"/runs/{RUN}/api/calls/{call['id']}")["results"][0]["id"] == row["id"]


def test_the_overview_and_the_list_of_runs(url: str) -> None:
    given = get(url, "/api/runs")
    assert [run["run_id"] for run in given["runs"]] == [RUN]
    assert given["month"]["limit_usd"] is None
    state = get(url, f"/runs/{RUN}/api/about")
    assert state["in_words"] == "is done"
    [event] = get(url, f"/runs/{RUN}/api/events")
    assert event["text"] == "started in one process"
