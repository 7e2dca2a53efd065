"""Attacks on every route of the explorer, over real HTTP. Routes are those of the application, so that new pages are attacked too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from starlette.routing import Mount, Route
from support import explorer_index, raw_http
from support.explorer_server import served
from support.raw_http import Answer, Client
from support.results import labels as labelled
from support.results.labels import RUN

from autointerp.explorer.web import guard
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import MOST_BODY, QUESTIONS, Access
from autointerp.explorer.web.library import INDEX, Library
from autointerp.labelling import connections

SECRET = b"not to be read by visitors"
TOKEN = "a token of the test"
PUBLIC = "https://dict.example.org"
VALUES = {"run": RUN, "unit": "feature-3", "file": "report.html"}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
OUTSIDE = (
    "..", "../secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "%2e%2e/secret.txt", "..%5csecret.txt", "%252e%252e%252fsecret.txt",
    "....//secret.txt", "%2fetc%2fhostname", "/etc/hostname", "%00", "report.html%00.png", ".hidden", "%ff%fe", "~root", "x" * 5000,
    "..%2f..%2fsecret.txt", f"..%2f{RUN}%2f..%2fledger.sqlite", "C:%5csecret.txt", "%c0%ae%c0%ae%2fsecret.txt", "linked.txt", "linked",
)  # fmt: skip
"""Values of a parameter that lead out of a folder, or that no file can have."""
QUERIES = (
    "q=%00", "q=%ff", "q=" + "a" * 10_000, "q=(((((", "q[]=1&q[]=2", "sort=__class__", "from=NaN", "limit=-1", "limit=1e999", "density=..",
    "density=inf..-inf", "rows=" + "9," * 3000, "unit=../../x", "&".join(f"p{i}=1" for i in range(2000)), "q=%F0%9F%92%A9%E2%80%AE",
    "number=99999999999999999999999999", "kind=%3Cscript%3E", "meaning=%EF%BF%BF", ";", "%", "=&=&",
)  # fmt: skip

BODIES = (
    b"", b"null", b"[]", b"NaN", b"\xff\xfe", b'{"a":' * 5000, b'{"text": "\\ud800", "version": 1e400}', b'{"name": "\\ud800\\u0000"}',
    b'{"with": "\\ud800"}', b'{"text": "x", "version": ' + b"9" * 400 + b"}", b'{"add": ["\\ud800"]}', b'{"text": "\\ud800", "units": ["\\u0000"]}',
)  # fmt: skip


class Address(NamedTuple):
    """A route: its pattern, and the address with ordinary values in it."""

    pattern: str
    path: str
    methods: frozenset[str]


def addresses() -> list[Address]:
    """All routes of the application."""
    found = []
    for route in application(Library(Path("results"), None), Access()).routes:
        if isinstance(route, Mount):
            found.append(Address(f"{route.path}/{{file}}", f"{route.path}/explorer.css", frozenset({"GET", "HEAD"})))
        else:
            assert isinstance(route, Route)
            found.append(Address(route.path, raw_http.fill(route.path, VALUES, "1"), frozenset(route.methods or ())))
    return found


ALL = addresses()
READ = [address for address in ALL if "GET" in address.methods]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a finished run, and with links that lead out of it."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "results"
    labelled.make(root).close()
    explorer_index.make(root / RUN / INDEX, run=RUN, n_features=70, n_neurons=0)
    (root / RUN / "report.html").write_text("<!doctype html><title>a report</title>")
    for place in (outside, root, root / RUN / INDEX):
        (place / "secret.txt").write_bytes(SECRET)
    (root / RUN / ".hidden").write_bytes(SECRET)
    (root / RUN / "linked.txt").symlink_to(outside / "secret.txt")
    (root / RUN / "linked").symlink_to(outside)
    (root / "linked-run").symlink_to(outside)
    explorer_index.make(outside / INDEX, n_features=5, n_neurons=0)
    (outside / "summary.json").write_text("{}")
    return root


@pytest.fixture(scope="module")
def library(results: Path) -> Library:
    return Library(results, results / RUN / INDEX)


@pytest.fixture(scope="module")
def url(library: Library, results: Path) -> Iterator[str]:
    ledger = labelled.Ledger.in_folder(results)
    with served(library, ledger) as address:
        yield address
    ledger.close()


@pytest.fixture(scope="module")
def guarded(library: Library) -> Iterator[str]:
    with served(library, token=TOKEN) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with closing(Client(url)) as found:
        yield found


@pytest.fixture
def stranger(guarded: str) -> Iterator[Client]:
    """A client of an explorer that asks for a token."""
    with closing(Client(guarded)) as found:
        yield found


def test_every_page_answers_with_the_headers_that_isolate_it(client: Client) -> None:
    for address in READ:
        answer = client.ask("GET", address.path)
        assert answer.status < 500, address
        _is_isolated(answer, address.path)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            client.close()


def _is_isolated(answer: Answer, path: str) -> None:
    headers = answer.headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy, path
    assert "frame-ancestors 'none'" in policy, path
    assert policy.startswith(("default-src 'none'", "sandbox ")), path
    assert "allow-same-origin" not in policy, path
    assert headers["referrer-policy"] == "no-referrer", path
    assert headers["x-content-type-options"] == "nosniff", path
    assert headers["cross-origin-resource-policy"] == "same-origin", path
    assert headers["cross-origin-opener-policy"] == "same-origin", path
    assert headers["cache-control"] in ("no-store", "no-cache"), path
    assert not [name for name in headers if name.startswith("access-control-") or name == "server"], path


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "user@127.0.0.1", "127.0.0.1/x", "localhost.", "", None]
)
def test_a_request_under_another_name_is_refused_on_every_route(client: Client, host: str | None) -> None:
    for address in ALL:
        for method in sorted(address.methods):
            assert client.ask(method, address.path, {"Host": host}).status == 400, address


def test_hosts_of_strangers_are_no_questions_to_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(guard.socket, "getfqdn", lambda: asked.append(None) or "this.machine")
    guard._own_names.cache_clear()
    access = Access(host="0.0.0.0", token=TOKEN)
    assert [access.accepts_host(name) for name in ("evil.example", "this.machine:80", "other.example")] == [
        False,
        True,
        False,
    ]
    assert len(asked) == 1
    guard._own_names.cache_clear()


def test_every_route_asks_for_the_token(stranger: Client, guarded: str) -> None:
    cookie = f"autointerp-explorer-{urlsplit(guarded).port}="
    for address in ALL:
        for method in sorted(address.methods):
            for given in (None, cookie, cookie + TOKEN[:-1], cookie + "%00"):
                headers = {"Cookie": given, "Origin": guarded}
                assert stranger.ask(method, f"{address.path}?token=wrong", headers).status == 401, (
                    address,
                    method,
                    given,
                )
    assert stranger.ask("GET", "/runs", {"Cookie": f'{cookie}"{TOKEN}"'}).status == 200


def test_no_answer_has_the_token_but_the_cookie(stranger: Client) -> None:
    answer = stranger.ask("GET", f"/u/feature-3?token={quote(TOKEN)}&sort=-density")
    assert (answer.status, answer.headers["location"]) == (303, "/u/feature-3?sort=-density")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = answer.headers.pop("set-cookie")
    assert TOKEN in cookie
    for address in READ:
        answer = stranger.ask("GET", address.path, {"Cookie": cookie.partition(";")[0]})
        assert answer.status < 500
        assert TOKEN not in f"{answer.body!r}{answer.headers}", address


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/%2fevil.example/", "/\\evil.example/", "///evil.example/%0d%0aX-Header:%201"]
)
def test_the_token_leads_to_no_other_server(stranger: Client, path: str) -> None:
    answer = stranger.ask("GET", f"{path}?token={quote(TOKEN)}")
    assert answer.status == 303
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))
    assert "x-header" not in answer.headers


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "http://localhost"]
)
def test_changes_from_elsewhere_are_refused_on_every_route(client: Client, origin: str | None) -> None:
    for address in ALL:
        for method in CHANGING:
            answer = client.ask(method, address.path, {"Origin": origin, "Content-Type": "application/json"}, b"{}")
            assert answer.status == 403, (address, method)


@pytest.mark.parametrize(
    ("site", "mode", "dest"),
    [("cross-site", "no-cors", "image"), ("same-site", "cors", "empty"), ("cross-site", "navigate", "iframe"), ("cross-site", "no-cors", "script")],
)  # fmt: skip
def test_other_sites_neither_fetch_nor_frame_any_route(client: Client, site: str, mode: str, dest: str) -> None:
    headers: dict[str, str | None] = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    for address in READ:
        assert client.ask("GET", address.path, headers).status == 403, address


def test_a_link_on_another_site_may_lead_here(client: Client) -> None:
    headers: dict[str, str | None] = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert client.ask("GET", "/u/feature-3", headers).status == 200
    assert client.ask("POST", "/u/feature-3", headers | {"Origin": f"http://{client.netloc}"}).status == 403


def test_a_read_only_explorer_changes_nothing_on_any_route(library: Library) -> None:
    with served(library, read_only=True) as url, closing(Client(url)) as client:
        for address in ALL:
            if QUESTIONS in address.path:  # the model answers, and nothing is changed
                continue
            for method in CHANGING:
                assert client.ask(method, address.path, {"Origin": url}).status == 403, (address, method)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_refused_and_name_no_other_site(client: Client, method: str) -> None:
    for address in ALL:
        for origin in ("http://evil.example", f"http://{client.netloc}"):
            headers: dict[str, str | None] = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            answer = client.ask(method, address.path, headers)
            assert 400 <= answer.status < 500, (address, origin)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_head_has_the_status_of_get_and_no_body(client: Client) -> None:
    for address in READ:
        answer = client.ask("HEAD", address.path)
        assert answer.status == client.ask("GET", address.path).status, address
        assert not answer.body


def test_no_parameter_leads_to_a_file_elsewhere(client: Client) -> None:
    asked = 0
    for address in READ:
        for name in set(raw_http.parameters(address.pattern)):
            for value in OUTSIDE:
                answer = client.ask("GET", raw_http.fill(address.pattern, VALUES | {name: value}, "1"))
                assert answer.status < 500, (address.pattern, name, value)
                assert SECRET not in answer.body, (address.pattern, name, value)
                assert not answer.body.startswith(b"SQLite"), (address.pattern, name, value)
                assert b"Traceback" not in answer.body
                asked += 1
    assert asked > 3 * len(OUTSIDE)


def test_nothing_is_served_through_a_link(client: Client) -> None:
    for path in ("secret.txt", "summary.json", "", "api/rows", "u/feature-3"):
        answer = client.ask("GET", f"/runs/linked-run/{path}")
        assert answer.status in (404, 422), path
        assert SECRET not in answer.body
    listed = client.ask("GET", "/api/runs")
    assert listed.status == 200
    assert b'"linked-run"' in listed.body


def test_hostile_queries_are_answered_on_every_route(client: Client) -> None:
    for address in READ:
        for query in QUERIES:
            answer = client.ask("GET", f"{address.path}?{query}")
            assert answer.status < 500, (address, query[:60])
            if answer.headers["content-type"].startswith("text/html"):
                assert b"<script>" not in answer.body, (address, query)


def test_hostile_bodies_are_answered_on_every_route_that_takes_one(client: Client) -> None:
    headers: dict[str, str | None] = {"Origin": f"http://{client.netloc}", "Content-Type": "application/json"}
    changing = [(address, method) for address in ALL for method in sorted(address.methods & {*CHANGING})]
    asks = "/units/", QUESTIONS  # a judge, or the model
    asked = [(address, method) for address, method in changing if not any(part in address.path for part in asks)]
    for address, method in asked:
        for body in BODIES:
            answer = client.ask(method, address.path, headers, body)
            assert answer.status < 500, (address, method, body[:40])
    assert len(asked) >= 10


def test_headers_of_a_proxy_are_not_believed(stranger: Client, client: Client) -> None:
    forwarded: dict[str, str | None] = {
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=127.0.0.1;host=evil.example;proto=https", "X-Real-IP": "127.0.0.1", "X-Original-URL": "/runs", "X-Rewrite-URL": "/runs",
        "X-HTTP-Method-Override": "DELETE",
    }  # fmt: skip
    for address in READ:
        answer = client.ask("GET", address.path, forwarded)
        assert b"evil" not in answer.body + str(answer.headers).encode(), address
    assert client.ask("GET", "/", {"Host": "evil.example", "X-Forwarded-Host": client.netloc}).status == 400
    assert client.ask("GET", "/u/feature-3/", forwarded).headers.get("location", "http:").startswith("http:")
    assert stranger.ask("GET", "/", forwarded).status == 401
    assert "secure" not in stranger.ask("GET", f"/?token={quote(TOKEN)}", forwarded).headers["set-cookie"].lower()


def test_behind_a_proxy_the_explorer_has_the_public_name_alone(library: Library) -> None:
    with served(library, token=TOKEN, public=PUBLIC) as url, closing(Client(url)) as client:
        port = urlsplit(url).port
        for host in (
            f"127.0.0.1:{port}",
            "localhost",
            "dict.example.org:80",
            "dict.example.org.evil.example",
            "www.dict.example.org",
        ):
            assert client.ask("GET", "/", {"Host": host}).status == 400, host
        answer = client.ask("GET", f"/?token={quote(TOKEN)}", {"Host": "Dict.Example.org:443"})
        assert answer.status == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-autointerp-explorer-")
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(cookie.lower().split("; "))
        own: dict[str, str | None] = {"Host": "dict.example.org", "Cookie": cookie.partition(";")[0]}
        assert client.ask("GET", "/api/rows", own).status == 200
        for origin, status in (
            (PUBLIC, 405),
            ("http://dict.example.org", 403),
            ("https://evil.example", 403),
            (url, 403),
        ):
            assert client.ask("POST", "/api/rows", own | {"Origin": origin}).status == status, origin
        assert client.ask("GET", "/u/feature-3/", own).headers["location"] == f"{PUBLIC}/u/feature-3"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: H\r\nOrigin: http://H\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 4\r\nContent-Length: 30\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: xchunked\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nContent-Length: +4\r\n\r\nabcdGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nContent-Length: -4\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 0x4\r\n\r\nabcdGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\nContent-Length: 1000000000\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\nHost: evil.example\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\nno colon\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\nX: a\x00b\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\nX: a\rTransfer-Encoding: chunked\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: H\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET /\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60,
        b"GET / HTTP/1.1\r\nHost: H\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /?q=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: H\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: H\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
    ],
    ids=lambda request_: request_[:90].decode("latin-1").replace("\r\n", "|"),
)
def test_an_ambiguous_or_endless_request_is_refused_and_ends_the_connection(url: str, request_: bytes) -> None:
    place = urlsplit(url).netloc.encode()
    with raw_http.connect(url) as connection:
        with suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(request_.replace(b"H\r\n", place + b"\r\n").replace(b"http://H", b"http://" + place))
        statuses = raw_http.statuses(raw_http.until_closed(connection))
    assert all(400 <= status < 600 and status != 500 for status in statuses)


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_no_connection_becomes_one_of_another_protocol(client: Client, upgrade: str) -> None:
    headers: dict[str, str | None] = {
        "Connection": "Upgrade", "Upgrade": upgrade, "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA", "Origin": "http://evil.example",
    }  # fmt: skip
    for address in READ:
        assert client.ask("GET", address.path, headers).status != 101, address


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: H\r\nX-Slow: ",
        b"POST /api/rows HTTP/1.1\r\nHost: H\r\nOrigin: http://H\r\nContent-Length: 60000\r\n\r\n{",
        b"POST /api/rows HTTP/1.1\r\nHost: H\r\nOrigin: http://H\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /runs HTTP/1.1\r\nHost: H\r\n\r\nGET /runs HTTP/1.1\r\nHost: H\r\nX-Slow: ",
    ],
    ids=["no request", "headers", "body", "chunks", "second request"],
)
def test_a_request_that_does_not_arrive_in_time_ends_the_connection(
    url: str, client: Client, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    place = urlsplit(url).netloc.encode()
    with raw_http.connect(url) as connection:
        connection.sendall(begun.replace(b"H\r\n", place + b"\r\n").replace(b"http://H", b"http://" + place))
        connection.settimeout(0.05)
        for _ in range(1000):  # a byte at a time, for as long as it is accepted
            try:
                if begun:
                    connection.send(b"1\r\na\r\n" if b"chunked" in begun else b"a")
                if connection.recv(65_536) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("the connection is still open")
    assert client.ask("GET", "/runs").status == 200


def test_connections_without_requests_keep_nobody_out(url: str, client: Client) -> None:
    held = [raw_http.connect(url) for _ in range(3 * connections.MAX_CONNECTIONS)]
    try:
        held[-1].sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert client.ask("GET", "/api/rows?limit=1").status == 200
        assert raw_http.until_closed(held[0]) == b""
    finally:
        for connection in held:
            connection.close()


def test_a_body_that_is_too_large_is_refused_on_every_route(client: Client) -> None:
    for address in ALL:
        for method in sorted(address.methods - {"HEAD"}):
            answer = client.ask(
                method, address.path, {"Origin": f"http://{client.netloc}", "Content-Length": str(MOST_BODY + 1)}
            )
            assert answer.status == 413, (address, method)
            assert answer.headers["connection"] == "close"
            client.close()
