"""What the explorer's server answers and to whom, over real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from support import explorer_index
from support.explorer_server import served
from support.planted_world import world as planted
from support.results import labels as labelled
from support.results.labels import RUN

from autointerp.cli.main import main
from autointerp.errors import INTERRUPTED_EXIT_CODE, UsageError
from autointerp.explorer.command import find_index
from autointerp.explorer.index.folder import LABELS
from autointerp.explorer.web.guard import MOST_BODY, Access, Guard, is_loopback
from autointerp.explorer.web.library import INDEX, Library
from autointerp.explorer.web.server import access_of
from autointerp.labelling import local_server

TOKEN = "a token of the test"
EXPLORE = [sys.executable, "-m", "autointerp", "explore", "--no-browser"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a finished run, its ledger and its index."""
    root = tmp_path_factory.mktemp("results")
    labelled.make(root).close()
    (root / RUN / "report.html").write_text("<!doctype html><title>a report</title>")
    (root / RUN / "linked.txt").symlink_to("/etc/hostname")
    explorer_index.make(root / RUN / INDEX, run=RUN)
    return root


@pytest.fixture
def library(results: Path) -> Library:
    return Library(results, results / RUN / INDEX)


@pytest.fixture
def url(library: Library, results: Path) -> Iterator[str]:
    ledger = labelled.Ledger.in_folder(results)
    with served(library, ledger) as address:
        yield address
    ledger.close()


def ask(url: str, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in (
        {"Host": place.netloc} | {key.replace("_", "-"): value for key, value in headers.items()}
    ).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def get(url: str, path: str) -> Any:
    """The JSON at a path."""
    status, body, _ = ask(url, path)
    assert status == 200, body
    return json.loads(body)


def test_a_search_is_answered_page_by_page(url: str) -> None:
    whole = get(url, "/api/rows?sort=-density&limit=200")
    assert whole["n"] == whole["of"] == len(whole["rows"]) == 140
    densities = [row["density"] for row in whole["rows"]]
    assert densities == sorted(densities, reverse=True)
    pages = [get(url, f"/api/rows?sort=-density&from={first}&limit=50")["rows"] for first in (0, 50, 100)]
    assert [row for page in pages for row in page] == whole["rows"]
    assert get(url, "/api/rows?q=nowhere")["rows"] == []


def test_a_unit_knows_its_place_in_a_search(url: str) -> None:
    ids = [row["unit_id"] for row in get(url, "/api/rows?sort=-maximum&kind=feature&limit=200")["rows"]]
    query = "?sort=-maximum&kind=feature"
    for place in (0, 1, len(ids) - 1):
        within = get(url, f"/api/units/{ids[place]}{query}")["within"]
        assert within["place"] == place
        assert within["n"] == len(ids)
        assert within["previous"] == (ids[place - 1] if place else None)
        assert within["next"] == (ids[place + 1] if place + 1 < len(ids) else None)
    elsewhere = get(url, f"/api/units/neuron-0%2B{query}")["within"]
    assert elsewhere == {"n": len(ids), "place": None, "previous": None, "next": ids[0]}


def test_strongest_examples_are_given_by_row(url: str) -> None:
    found = get(url, "/api/strongest?rows=7,3,7")
    assert list(found) == ["3", "7"]
    assert found["3"]["activations"][found["3"]["mark"]] == 10


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/rows?sort=nothing", 422),
        ("/api/rows?from=-1", 422),
        ("/api/rows?limit=1e3", 422),
        ("/api/rows?from=99999999999", 422),
        ("/api/strongest?rows=a", 422),
        ("/api/strongest", 422),
        ("/u/feature-9999", 404),
        ("/api/units/feature-9999", 404),
        ("/api/units/%00", 404),
        ("/runs/other/", 422),
        ("/runs/%2e%2e/summary.json", 422),
        (f"/runs/{RUN}/%2e%2e%2fledger.sqlite", 404),
        (f"/runs/{RUN}/linked.txt", 404),
        (f"/runs/{RUN}/index", 404),
        ("/static/../app.py", 404),
        ("/nowhere", 404),
    ],
)
def test_a_wrong_address_is_answered_with_what_is_wrong(url: str, path: str, status: int) -> None:
    found, body, headers = ask(url, path)
    assert found == status
    assert b"Traceback" not in body
    if "/api/" in path:
        assert json.loads(body)["error"]
    else:
        assert headers["content-type"].startswith("text/html")
        assert b"This page cannot be shown" in body


def test_a_hostile_address_is_not_markup(url: str) -> None:
    for path in ("/u/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/runs/%3Cscript%3E/", "/%3Cscript%3Ealert(1)"):
        _, body, _ = ask(url, path)
        assert b"<script>" not in body


def test_a_route_gets_no_more_of_a_body_than_the_limit() -> None:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/", read, methods=["POST"])], middleware=[Middleware(Guard, access=Access())])
    client = TestClient(app, base_url="http://127.0.0.1:1", headers={"Origin": "http://127.0.0.1:1"})
    assert client.post("/", content=b"x" * MOST_BODY).text == str(MOST_BODY)
    assert client.post("/", content=b"x" * (MOST_BODY + 1)).status_code == 413
    assert client.post("/", content=iter([b"x" * 1000] * 100)).status_code == 413  # in chunks, without a length


def test_rows_beyond_the_last_are_none(url: str) -> None:
    assert get(url, "/api/rows?from=1000000")["rows"] == []
    assert get(url, "/api/strongest?rows=1000000") == {"1000000": None}


def test_runs_are_listed_with_their_verdict_and_their_pages(url: str) -> None:
    [run] = get(url, "/api/runs")["runs"]
    assert run["run_id"] == RUN
    assert run["state"] == "done"
    assert not run["live"]
    assert "features minus neurons" in run["verdict"]
    assert run["index"]
    assert run["report"]
    status, body, headers = ask(url, f"/runs/{RUN}/report.html")
    assert (status, b"a report" in body) == (200, True)
    assert headers["content-security-policy"].startswith("sandbox")
    assert get(url, f"/runs/{RUN}/api/rows?limit=1")["of"] == 140
    assert ask(url, f"/runs/{RUN}/u/feature-3")[0] == 200


def test_labels_that_are_replaced_are_shown_without_a_restart(tmp_path: Path) -> None:
    folder = explorer_index.make(tmp_path / "index", labelled=0, n_features=5, n_neurons=0)
    other = explorer_index.make(tmp_path / "other", labelled=1, n_features=5, n_neurons=0)
    with served(Library(tmp_path, folder.path)) as url:
        assert get(url, "/api/rows")["rows"][0]["explanation"] is None
        os.replace(other.path / LABELS, folder.path / LABELS)
        assert get(url, "/api/rows")["rows"][0]["explanation"]


@pytest.mark.parametrize(("judge", "said"), [("embedded", True), ("anthropic/claude-haiku-4-5", False), ("", False)])
def test_pages_say_that_labels_are_not_of_an_llm(tmp_path: Path, judge: str, said: bool) -> None:
    folder = explorer_index.make(tmp_path / "index", labelled=2, n_features=5, n_neurons=0)
    labels = folder.table(LABELS)
    judges = pa.array([judge] * len(labels))
    folder.write_table(LABELS, labels.set_column(labels.schema.get_field_index("judge"), "judge", judges))
    with served(Library(tmp_path, folder.path)) as url:
        for page in ("/", "/map", "/compare", "/u/feature-3"):
            assert (b"not judged by an LLM" in ask(url, page)[1]) == said


def test_the_pages_are_there_before_torch_is_imported() -> None:
    code = (
        "import sys, autointerp.explorer.web.server; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_explorer_without_an_index_shows_the_runs(results: Path) -> None:
    with served(Library(results, None)) as url:
        assert [run["run_id"] for run in get(url, "/api/runs")["runs"]] == [RUN]  # from its folder, without a ledger
        assert ask(url, "/runs")[0] == 200
        assert ask(url, "/")[0] == 422


def test_only_this_server_under_its_own_name_answers(url: str) -> None:
    port = urlsplit(url).port
    for host in (f"127.0.0.1:{port}", "localhost:9000"):  # a tunnel has another port
        assert ask(url, Host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "192.168.0.1"):
        assert ask(url, Host=host)[0] == 400


def test_changes_from_other_sites_are_refused(url: str) -> None:
    own = url
    assert ask(url, "/api/rows", "POST", Origin=own)[0] == 405
    for origin in ("null", "http://evil.example", f"{own}.evil.example", "http://127.0.0.1:1"):
        assert ask(url, "/api/rows", "POST", Origin=origin)[0] == 403
    assert ask(url, "/api/rows", "POST")[0] == 403


def test_a_read_only_explorer_refuses_every_change(library: Library) -> None:
    with served(library, read_only=True) as url:
        assert ask(url, "/api/rows", "POST", Origin=url)[0] == 403
        assert ask(url)[0] == 200


def test_a_token_is_asked_for_and_becomes_a_cookie(library: Library) -> None:
    with served(library, token=TOKEN) as url:
        for path in ("/", "/api/rows", "/static/explorer.css", "/runs", "/?token=wrong", "/?token="):
            assert ask(url, path)[0] == 401
        status, _, headers = ask(url, "/u/feature-3?sort=-density&token=a+token+of+the+test")
        assert (status, headers["location"]) == (303, "/u/feature-3?sort=-density")
        assert "HttpOnly" in headers["set-cookie"]
        cookie = headers["set-cookie"].partition(";")[0]
        assert ask(url, "/api/rows", Cookie=cookie)[0] == 200
        assert ask(url, "/api/rows", Cookie=cookie.partition("=")[0] + "=wrong")[0] == 401
        assert ask(url, "/api/rows", Cookie="\x7f;=")[0] == 401


def test_answers_on_a_kept_connection_are_not_held_back() -> None:
    with closing(local_server.listen(0, [])) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # what asyncio looks at before it turns Nagle's algorithm off


def test_an_address_that_other_machines_reach_has_a_token(library: Library) -> None:
    assert access_of("127.0.0.1", None, read_only=False).token is None
    assert access_of("127.0.0.1", "given by the user", read_only=False).token == "given by the user"
    first, second = (access_of("0.0.0.0", None, read_only=False).token for _ in range(2))
    assert first
    assert second
    assert first != second
    assert [is_loopback(host) for host in ("localhost", "::1", "127.3.2.1", "0.0.0.0", "::", "example.com")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    everywhere = Access("0.0.0.0", first)
    assert everywhere.accepts_host("10.1.2.3:8000")
    assert not everywhere.accepts_host("evil.example")


def test_the_headers_isolate_the_pages(url: str) -> None:
    for path in ("/", "/u/feature-3", "/runs", "/api/rows", "/nowhere", "/static/search.js"):
        _, body, headers = ask(url, path)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
        assert not re.search(rb"<script(?![^>]*src=)|<style|\son\w+=|style=", body)


def test_the_command_serves_until_it_is_stopped(results: Path) -> None:
    process = subprocess.Popen(
        [*EXPLORE, "--results", str(results)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert get(address, "/api/rows")["of"] == 140
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (INTERRUPTED_EXIT_CODE, "autointerp: stopped\n")


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0])
def test_the_command_is_stopped_in_one_line_while_it_loads(results: Path, after_s: float) -> None:
    process = subprocess.Popen(
        [*EXPLORE, "--results", str(results)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED_EXIT_CODE
    assert complaints in ("autointerp: stopped\n", "autointerp: stopped before anything was done\n")


def test_a_name_means_a_run_with_or_without_an_index(results: Path, tmp_path: Path) -> None:
    index = results / RUN / INDEX
    assert find_index(None, results) == find_index("latest", results) == find_index(RUN[:6], results) == (index, RUN)
    assert find_index(str(index), tmp_path) == (index, str(index))
    assert find_index(str(results / RUN), tmp_path) == (index, str(results / RUN))
    (spec := tmp_path / "spec.toml").touch()
    assert find_index(str(spec), tmp_path) == (None, str(spec))
    labelled.make(tmp_path).close()
    assert find_index(str(tmp_path / RUN), tmp_path / "other") == (None, str(tmp_path / RUN))
    assert find_index(None, tmp_path) == find_index(RUN, tmp_path) == (None, RUN)
    with pytest.raises(UsageError, match="no finished run other"):
        find_index("other", tmp_path)
    with pytest.raises(UsageError, match=r"neither the results of a run \(summary.json\) nor a finished index"):
        find_index(str(tmp_path), tmp_path)
    with pytest.raises(UsageError, match=r"there is no spec file nowhere\.toml"):
        find_index("nowhere.toml", tmp_path)
    with pytest.raises(UsageError, match="no latest run"):
        find_index(None, tmp_path / "nowhere")


def test_a_read_only_explorer_makes_no_index(tmp_path: Path) -> None:
    labelled.make(tmp_path).close()
    done = CliRunner().invoke(main, ["explore", RUN, "--read-only", "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert f"make it with `autointerp index {RUN}`" in done.stderr


def test_a_run_and_a_dictionary_of_its_own_exclude_each_other(results: Path) -> None:
    done = CliRunner().invoke(main, ["explore", RUN, "--dictionary", "weights", "--results", str(results)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"{RUN} already names a dictionary and text" in done.stderr


@pytest.mark.parametrize(
    "option", [["explore", "--usd"], ["explain", "--usd"], ["explain", "--share"], ["explain", "--min-probability"]]
)
def test_what_is_no_number_is_no_budget_and_no_share(results: Path, option: list[str]) -> None:
    done = CliRunner().invoke(main, [*option, "nan", "--results", str(results)])
    assert done.exit_code == 2
    assert "nan is no number" in done.stderr


@pytest.mark.slow
def test_a_dictionary_and_a_corpus_are_opened_without_a_run(tmp_path: Path) -> None:
    world = planted.make(tmp_path / "world", documents=20)
    named = ["--subject", str(world.subject), "--dictionary", str(world.dictionary), "--corpus", str(world.corpus)]
    command = [
        sys.executable,
        "-m",
        "autointerp",
        "explore",
        *named,
        "--no-browser",
        "--results",
        str(tmp_path / "results"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert get(address, "/api/rows")["of"] == len(world.features)
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate(timeout=60)
    assert process.returncode == 130, notes
    assert len(list((tmp_path / "results" / "indexes").iterdir())) == 1


def test_a_token_that_is_easily_guessed_is_refused(results: Path) -> None:
    done = CliRunner().invoke(main, ["explore", "--token", "short", "--results", str(results)])
    assert done.exit_code == 2
    assert "--token has 5 characters" in done.stderr
