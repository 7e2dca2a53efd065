"""Who may ask a model, over real HTTP, without a model."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from starlette.exceptions import HTTPException
from support import explorer_index
from support.explorer_server import served

from autointerp.explorer.live.visitors import Visitors
from autointerp.explorer.web.library import Library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("results")
    return Library(root, explorer_index.make(root / "index", n_features=8, n_neurons=0).path)


@pytest.fixture(scope="module")
def url(library: Library) -> Iterator[str]:
    with served(library, read_only=True) as address:
        yield address


def post(url: str, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", path, body, {"Origin": url} | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_a_read_only_explorer_answers_questions_and_refuses_changes(url: str) -> None:
    assert post(url, "/api/live/read", b'{"text": 1}')[0] == 422
    assert post(url, "/api/live/continue", b"{}")[0] == 422
    assert post(url, "/api/rows", b"{}") == (403, "the explorer was started with --read-only")


def test_other_sites_cannot_ask_a_model(url: str) -> None:
    for path in ("/api/live/open", "/api/live/read", "/api/live/continue"):
        assert post(url, path, b'{"text": "x"}', Origin="http://evil.example")[0] == 403
        assert post(url, path, b'{"text": "x"}', Sec_Fetch_Site="cross-site")[0] == 403
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        connection.request("GET", "/api/rows", headers={"Sec-Fetch-Site": site})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_a_unit_of_another_index_is_refused(url: str) -> None:
    status, body = post(url, "/api/live/read", b'{"text": "x", "units": ["feature-99"]}')
    assert (status, json.loads(body)["error"]) == (422, "the index has no unit 'feature-99': name one of its own")


def test_a_model_that_is_nowhere_is_said_in_a_sentence(url: str, library: Library) -> None:
    for path, body in (("open", b"{}"), ("read", b'{"text": "x"}'), ("continue", b'{"text": "x"}')):
        status, said = post(url, f"/api/live/{path}", body)
        error = json.loads(said)["error"]
        assert status == 503
        assert "does not say where the subject is, and its run has no spec: make the index again" in error
        assert str(library.main) in error
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    for path, status in (
        ("/try", 200),
        ("/", 200),
        ("/api/rows", 200),
        ("/api/units/feature-1?fires=x", 200),
        ("/api/rows?fires=x", 503),
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_requests_in_flight_are_counted_for_each_visitor_and_for_all() -> None:
    visitors = Visitors(of_visitor=2, of_all=3)
    with visitors.one("a"), visitors.one("a"):
        with pytest.raises(HTTPException, match="2 of your questions are being answered") as refused, visitors.one("a"):
            pass
        assert refused.value.status_code == 429
        with visitors.one("b"), pytest.raises(HTTPException, match="3 questions of all visitors"), visitors.one("c"):
            pass
        with visitors.one("c"):
            pass
    with visitors.one("a"), visitors.one("a"):
        pass
