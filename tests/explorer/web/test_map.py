"""The map as data over real HTTP, and lists of units that an address names by their rows."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import explorer_index
from support.explorer_server import served

from autointerp.explorer.index.folder import LABELS, MAP, UNITS, IndexFolder
from autointerp.explorer.index.schema import MOST_ON_MAP
from autointerp.explorer.search.places import LABELS as KINDS
from autointerp.explorer.search.places import SIDE, VALUES, Places
from autointerp.explorer.search.query import MOST_ROWS_CHARACTERS, Query
from autointerp.explorer.web.library import Library

N_FEATURES, N_NEURONS, NAMES = 120, 20, ("law, courts", "music, songs", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    made = explorer_index.make(tmp_path_factory.mktemp("index"), n_features=N_FEATURES, n_neurons=N_NEURONS)
    explorer_index.add_map(made, N_FEATURES, NAMES)
    return made


@pytest.fixture(scope="module")
def url(folder: IndexFolder) -> Iterator[str]:
    with served(Library(folder.path.parent, folder.path)) as address:
        yield address


def ask(url: str, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None, {key.lower(): value for key, value in answer.getheaders()}


def test_points_and_clusters_lie_as_in_the_files(url: str, folder: IndexFolder) -> None:
    _, drawn, _ = ask(url, "/api/map")
    table = folder.table(MAP).to_pydict()
    assert drawn["rows"] == N_FEATURES
    assert drawn["cluster"] == table["cluster"]
    for axis in ("x", "y"):
        written, exact = np.array(drawn[axis]), np.array(table[axis])
        assert 0 <= written.min() <= written.max() < SIDE
        assert np.corrcoef(written, exact)[0, 1] > 0.9999
    assert max(*drawn["x"], *drawn["y"]) == SIDE - 1
    assert [cluster["name"] for cluster in drawn["clusters"]] == list(NAMES)
    first = np.flatnonzero(np.array(drawn["cluster"]) == 0)
    assert drawn["clusters"][0]["x"] == pytest.approx(np.array(drawn["x"])[first].mean(), abs=2)


def test_a_browser_that_has_the_map_is_not_sent_it_again(url: str) -> None:
    status, _, headers = ask(url, "/api/map")
    assert status == 200
    assert headers["cache-control"] == "no-cache"
    assert ask(url, "/api/map", If_None_Match=headers["etag"])[:2] == (304, None)
    assert ask(url, "/api/map", If_None_Match='"other"')[0] == 200
    assert ask(url, "/api/map/values?column=density")[2]["etag"] != headers["etag"]


@pytest.mark.parametrize("column", [name for name in VALUES if name != "label"])
def test_values_are_those_of_the_features_in_order(url: str, column: str) -> None:
    _, found, _ = ask(url, f"/api/map/values?column={column}")
    rows = ask(url, "/api/rows?kind=feature&limit=200")[1]["rows"]
    assert len(found["values"]) == N_FEATURES
    if column in rows[0]:
        assert found["values"] == [row[column] for row in rows]
        assert any(value is not None for value in found["values"])


def test_kinds_of_labels_say_where_each_explanation_is_from(url: str, folder: IndexFolder) -> None:
    _, found, _ = ask(url, "/api/map/values?column=label")
    source = {label["row"]: label["source"].partition(":")[0] for label in folder.table(LABELS).to_pylist()}
    assert tuple(found["kinds"]) == KINDS
    assert [KINDS[kind] for kind in found["values"]] == [source.get(row, "none") for row in range(N_FEATURES)]
    assert len(set(found["values"])) == 3


def test_what_a_search_finds_is_given_whole_and_in_its_order(url: str) -> None:
    _, found, _ = ask(url, "/api/found?sort=-density")
    rows = ask(url, "/api/rows?kind=feature&sort=-density&limit=200")[1]["rows"]
    assert found["rows"] == [row["row"] for row in rows]
    assert ask(url, "/api/found?q=nowhere")[1] == {"rows": []}


@pytest.mark.parametrize("path", ["/api/map/values", "/api/map/values?column=row", "/api/found?q=!", "/api/rows?rows=3-", "/api/rows?rows=7-3", "/api/rows?rows=1,,2", "/api/rows?rows=" + "1," * 4001])  # fmt: skip
def test_a_wrong_question_is_answered_in_words(url: str, path: str) -> None:
    status, answer, _ = ask(url, path)
    assert status == 422
    assert "Traceback" not in answer["error"]


@given(rows=st.sets(st.integers(0, N_FEATURES + N_NEURONS + 5), min_size=1))
def test_a_list_of_rows_is_what_its_ranges_name(rows: set[int]) -> None:
    written, ranges, ordered = [], [], sorted(rows)
    for row in ordered:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    written = [f"{first}-{last}" if last > first else str(first) for first, last in ranges]
    query = Query.of({"rows": ",".join(written)})
    assert {row for first, last in query.rows for row in range(first, last + 1)} == rows


def test_units_can_be_listed_by_their_rows_and_searched_among(url: str) -> None:
    _, found, _ = ask(url, "/api/rows?rows=5,130-134,7&sort=-density")
    assert {row["row"] for row in found["rows"]} == {5, 7, 130, 131, 132, 133, 134}
    assert found["n"] == 7
    assert {row["row"] for row in ask(url, "/api/rows?rows=5,130-134,9999&kind=feature")[1]["rows"]} == {5}
    longest = "rows=" + "1," * (MOST_ROWS_CHARACTERS // 2 - 1) + "1"
    assert ask(url, f"/api/rows?{longest}")[1]["n"] == 1


def test_an_index_without_a_map_says_so(tmp_path: Path) -> None:
    made = explorer_index.make(tmp_path / "index", n_features=5, n_neurons=0)
    with served(Library(tmp_path, made.path)) as address:
        none = ask(address, "/api/map")[1]
        assert none["why_none"].startswith("This index has no map")
        assert (none["rows"], none["x"], none["clusters"]) == (0, [], [])
        assert ask(address, "/api/map/values?column=grade")[1] == {"values": []}
        explorer_index.add_map(made, 5, ("one",))
        drawn = ask(address, "/api/map")[1]
        assert (drawn["why_none"], drawn["rows"]) == ("", 5)
    wide = made.about.model_copy(update={"n_features": MOST_ON_MAP + 1})
    (made.path / MAP).unlink()
    made.finish(wide)
    with served(Library(tmp_path, made.path)) as address:
        assert f"{MOST_ON_MAP:,}" in ask(address, "/api/map")[1]["why_none"]


def test_the_largest_map_is_a_few_megabytes(tmp_path: Path) -> None:
    made = explorer_index.make(tmp_path, n_features=5, n_neurons=0)
    explorer_index.add_map(made, MOST_ON_MAP, [f"words of cluster {number}" for number in range(200)])
    assert made.has(UNITS)
    assert len(Places(made, lambda: pytest.fail("places need no columns")).drawn) < 2_500_000
