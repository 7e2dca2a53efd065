"""What the labelling page's server reveals and to whom, over real HTTP."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from support.results import labels as labelled
from support.results.labels import RUN, TOKEN, scores

from autointerp.errors import UsageError
from autointerp.labelling import local_server, web_page
from autointerp.labelling.connections import MAX_CONNECTIONS
from autointerp.labelling.sheet import Sheet

ITEMS = 50


@pytest.fixture
def sheet(tmp_path: Path) -> Iterator[Sheet]:
    ledger = labelled.make(tmp_path, planted=1)
    yield labelled.sheet(ledger, tmp_path, n=ITEMS)
    ledger.close()


@pytest.fixture
def url(sheet: Sheet) -> Iterator[str]:
    with labelled.served(sheet) as address:
        yield address


def ask(
    url: str, method: str = "GET", path: str = "", body: bytes | None = None, **headers: str | None
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers. Changes come from the page's own origin unless `Origin` says otherwise."""
    place = urlsplit(url)
    given = {"Origin": None if method == "GET" else f"http://{place.netloc}", "Host": place.netloc} | headers
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    connection.putrequest(method, path if path.startswith("/") else place.path + path, skip_host=True)
    for name, value in (given | {"Content-Length": str(len(body or b""))}).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def put(url: str, number: int, score: Any, **headers: str | None) -> int:
    return ask(url, "PUT", f"labels/{number}", json.dumps({"score": score}).encode(), **headers)[0]


def test_no_response_reveals_grades_arms_or_units(url: str, sheet: Sheet, tmp_path: Path) -> None:
    folder = tmp_path / RUN
    judgements, exemplars = (pd.read_parquet(folder / f"{name}.parquet") for name in ("judgements", "exemplars"))
    number = sheet.items[0].number
    answers = [
        ask(url),
        ask(url, path="labels"),
        ask(url, "PUT", f"labels/{number}", b'{"score": 1}'),
        ask(url, "DELETE", f"labels/{number}"),
        ask(url, "POST", "agreement"),
        ask(url, "PUT", "labels/999", b'{"score": 1}'),
        ask(url, "PUT", f"labels/{number}", b'{"score": 7}'),
        ask(url, path="nowhere"),
    ]
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 409, 422, 422, 404]
    served = b"".join(body + repr(headers).encode() for _, body, headers in answers).decode()
    secrets = {*judgements["unit_id"], *judgements["exemplar_id"], *judgements["reason"], *judgements["call_key"]}
    secrets |= {f"{activation:.6g}" for activation in exemplars["activation"] if activation > 0}
    secrets |= {"shuffled", "base_rate", "planted", "neuron-", "stratum", "probability", "judgement", "resid_post"}
    assert [secret for secret in secrets if secret and secret in served] == []
    # Apart from the items themselves, the page holds nothing that differs between items.
    data = json.loads(served.split('id="data">')[1].split("</script>")[0])
    assert set(data) == {"key", "levels", "items", "labels", "closed"}
    assert {len(item) for item in data["items"]} == {5}
    assert [item[0] for item in data["items"]] == [item.number for item in sheet.items]


def test_numbers_and_order_of_items_reveal_no_grades(tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    from autointerp.ledger import labels

    ledger = labelled.make(tmp_path, n_features=12, n_neurons=12)
    sheets = [labelled.sheet(ledger, tmp_path, rater, 400) for rater in ("anna", "ben")]
    with ledger.read() as tx:
        judged, sample = labels.judged(tx, RUN), labels.items(tx, RUN)
    grade = {item.number: judged[item.key][1] for item in sample}
    orders = [list(range(1, 401)), *([item.number for item in sheet.items] for sheet in sheets)]
    assert all(abs(spearmanr(range(400), [grade[n] for n in order]).statistic) < 0.15 for order in orders)
    assert abs(spearmanr(orders[1], orders[2]).statistic) < 0.15
    ledger.close()


def test_only_requests_from_the_page_itself_are_accepted(url: str, sheet: Sheet) -> None:
    number, port = sheet.items[0].number, urlsplit(url).port
    assert put(url, number, 2) == 200
    for origin in (None, "null", "http://evil.example", f"http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:1"):
        assert put(url, number, 3, Origin=origin) == 403
        assert ask(url, "DELETE", f"labels/{number}", Origin=origin)[0] == 403
        assert ask(url, "POST", "agreement", Origin=origin)[0] == 403
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
        assert ask(url, Host=host)[0] == 400
        assert put(url, number, 3, Host=host, Origin=f"http://{host}") == 400
    wrong = url.replace(TOKEN, "x" * len(TOKEN))
    assert ask(wrong)[0] == put(wrong, number, 3) == ask(wrong, path="labels")[0] == 404
    assert ask(url, path="/")[0] == ask(url, path="/%C3%A9%00/")[0] == ask(url, path=f"/{TOKEN}/../..")[0] == 404
    assert ask(url, "OPTIONS", f"labels/{number}")[0] == 405
    assert sheet.labels()[number].score == 2
    # Through a tunnel the browser sends localhost and another port.
    assert put(url, number, 1, Host="localhost:9000", Origin="http://localhost:9000") == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"score": true}', b'{"score": 2.0}', b'{"score": "2"}',
                                  b'{"score": 4}', b'{"score": -1}', b'{"score": 1, "rater": "ben"}', b"[" * 1000, b"\xff"])  # fmt: skip
def test_a_body_that_is_not_a_label_is_refused(url: str, sheet: Sheet, body: bytes) -> None:
    assert ask(url, "PUT", f"labels/{sheet.items[0].number}", body)[0] == 422
    assert sheet.labels() == {}


def test_a_large_body_is_refused(url: str, sheet: Sheet) -> None:
    assert ask(url, "PUT", f"labels/{sheet.items[0].number}", b'{"score": 1}' + b" " * 2000)[0] == 413


def test_the_response_headers_isolate_the_page(url: str) -> None:
    _, body, headers = ask(url)
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert b"http://" not in body
    assert b"https://" not in body


def test_the_agreement_closes_the_labels(url: str, sheet: Sheet) -> None:
    sheet.set({item.number: 2 for item in sheet.items[1:]})
    assert ask(url, "POST", "agreement")[0] == 409
    assert put(url, sheet.items[0].number, None) == 200
    status, body, _ = ask(url, "POST", "agreement")
    assert status == 200
    assert json.loads(body)["n"] == ITEMS - 1
    assert put(url, sheet.items[0].number, 1) == 409
    assert ask(url, "DELETE", f"labels/{sheet.items[0].number}")[0] == 409
    assert json.loads(ask(url, path="labels")[1])["closed"] is True


def test_a_ledger_that_cannot_be_written_gives_503_until_it_can(url: str, sheet: Sheet, tmp_path: Path) -> None:
    number = sheet.items[0].number
    with sheet.ledger.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE labels RENAME TO away")
        connection.commit()
        assert put(url, number, 2) == 503
        connection.exec_driver_sql("ALTER TABLE away RENAME TO labels")
        connection.commit()
    assert put(url, number, 2) == 200
    assert sheet.labels()[number].score == 2


def test_the_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    ledger = labelled.make(tmp_path)
    order = [item.number for item in labelled.sheet(ledger, tmp_path, n=ITEMS).items]
    command = [sys.executable, "-m", "autointerp", "label", RUN, "--results", str(tmp_path), "--rater", "sitter"]
    addresses = []
    for sitting in (1, 2):
        process = subprocess.Popen([*command, "--no-open"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        addresses.append(process.stdout.readline().strip())
        assert put(addresses[-1], order[sitting], 3) == 200
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0
        assert f"sitter has graded {sitting} of 50 items" in said
        assert len(complaints.splitlines()) == 1
    # The same port with another token, so that an open page finds the server again.
    first, second = map(urlsplit, addresses)
    assert first.netloc == second.netloc
    assert first.hostname == "127.0.0.1"
    assert first.path != second.path
    assert scores(ledger, "sitter") == {order[1]: 3, order[2]: 3}
    ledger.close()


def test_a_port_in_use_is_avoided_or_refused(tmp_path: Path) -> None:
    ledger = labelled.make(tmp_path)
    sheet = labelled.sheet(ledger, tmp_path, n=ITEMS)
    with (
        local_server.listen(None, [sheet.run_id, sheet.rater]) as first,
        local_server.listen(None, [sheet.run_id, sheet.rater]) as second,
    ):
        ports = [found.getsockname() for found in (first, second)]
        assert ports[0][1] != ports[1][1]
        assert {host for host, _ in ports} == {"127.0.0.1"}
        with pytest.raises(UsageError, match=f"--port {ports[0][1]} cannot be used"):
            local_server.listen(ports[0][1], [sheet.run_id, sheet.rater])
    ledger.close()


@pytest.mark.parametrize("number", ["9" * 5_000, "-1", "1.5", "%D9%A1", "%00", "1e3"])
def test_an_item_number_that_is_none_is_not_found(url: str, number: str) -> None:
    assert ask(url, "PUT", f"labels/{number}", b'{"score": 1}')[0] == 404
    assert ask(url)[0] == 200


def test_half_open_requests_do_not_lock_the_rater_out(url: str) -> None:
    place = urlsplit(url)
    with ExitStack() as stack:
        connections = []
        for _ in range(1_100):
            held = stack.enter_context(socket.create_connection((str(place.hostname), place.port or 0), timeout=30))
            with suppress(OSError):
                held.sendall(b"GET / HTTP/1.1\r\nHost: ")
            connections.append(held)
        assert ask(url)[0] == 200
        assert sum(map(is_open, connections)) <= MAX_CONNECTIONS


def is_open(connection: socket.socket) -> bool:
    """Whether the server has not closed a connection on which it sends nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01" * 50,
        b"GET / HTTP/1.1\r\n\r\n",
        b"PUT /%ff%00/labels/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_the_page_stays(
    url: str, request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 0), timeout=30) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    assert not answer or b" 400 " in answer.splitlines()[0] or b" 404 " in answer.splitlines()[0]
    assert ask(url)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_the_browser_is_opened_without_the_token_in_its_command_line(
    sheet: Sheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, str]] = []

    def remember(link: str) -> None:
        path = Path(link.removeprefix("file://"))
        assert path.stat().st_mode & 0o077 == 0
        opened.append((link, path.read_text()))

    monkeypatch.setattr(local_server, "_has_screen", lambda: True)
    monkeypatch.setattr(local_server.webbrowser, "open", remember)
    monkeypatch.setattr(local_server.Server, "run", lambda self, sockets: None)
    said: list[str] = []
    web_page.serve(sheet, port=None, open_browser=True, then="", say=said.append)
    [(link, page)] = opened
    token = said[0].rstrip("/").rpartition("/")[2]
    assert token not in link
    assert said[0] in page
    assert not Path(link.removeprefix("file://")).exists()
