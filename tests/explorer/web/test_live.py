"""A model in its process, asked over real HTTP: killed, stopped, left by its visitors, and asked by two at once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from support import live_model
from support.explorer_server import serving
from support.hostile_text import WORDS
from support.planted_world import world as planted

from autointerp.errors import INTERRUPTED_EXIT_CODE
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.live import limits
from autointerp.explorer.live.host import LiveHost
from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import Library
from sae.corpus.sources import clean

pytestmark = pytest.mark.slow
TEXT = "filler1 harbour4 filler2 orchard3"
SET = [{"unit": "feature-1", "factor": 2.0}]
LONG = {"text": TEXT, "units": SET, "tokens": limits.NEW_TOKENS}


class Site(NamedTuple):
    """A served explorer and the model behind it."""

    url: str
    live: LiveHost

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=120)

    def send(self, path: str, body: Any) -> http.client.HTTPConnection:
        """A connection on which a question was asked."""
        connection = self.connect()
        connection.request("POST", f"/api/live/{path}", json.dumps(body), {"Origin": self.url})
        return connection

    def ask(self, path: str, body: Any) -> tuple[int, Any]:
        connection = self.send(path, body)
        answer = connection.getresponse()
        said = [json.loads(line) for line in answer.read().split(b"\n") if line]
        connection.close()
        return answer.status, said if path == "continue" and answer.status == 200 else said[0]

    def get(self, path: str) -> tuple[int, Any]:
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def signal(self, number: int) -> None:
        assert self.live.process is not None
        os.kill(self.live.process.pid, number)

    @property
    def busy(self) -> bool:
        return self.live.process is not None and self.live.process.busy


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    root = tmp_path_factory.mktemp("live")
    return live_model.index(planted.make(root / "world", documents=20), root / "index")


@pytest.fixture(scope="module")
def site(index: IndexFolder) -> Iterator[Site]:
    app = application(Library(index.path.parent, index.path), Access())
    with serving(app) as url:
        found = Site(url, app.state.live)
        assert found.ask("open", {})[0] == 200
        yield found


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def test_a_text_is_read_and_continued(site: Site) -> None:
    status, read = site.ask("read", {"text": TEXT})
    assert status == 200
    assert "".join(read["tokens"]).strip() == TEXT
    assert read["units"]
    status, lines = site.ask("continue", LONG | {"control": True})
    assert status == 200
    assert lines[-1] == {"end": "length"}
    assert set(lines[-2]) == {"plain", "steered", "control", "n"}
    assert lines[-2]["n"] == limits.NEW_TOKENS
    assert len(lines) > limits.NEW_TOKENS


def test_hostile_texts_are_read_and_continued(site: Site) -> None:
    assert site.ask("read", {"text": "half\ud800"})[0] == 422  # no text: a browser sends whole characters
    for word in (clean(word) for word in WORDS[::4]):
        assert site.ask("read", {"text": word})[0] == 200
        status, lines = site.ask("continue", {"text": f"filler1 {word}", "units": SET, "tokens": 1})
        assert (status, lines[-1]) == (200, {"end": "length"})


def test_a_text_that_cannot_be_continued_is_said(site: Site) -> None:
    [line] = site.ask("continue", {"text": "", "units": SET})[1]
    assert "is too short" in line["error"]
    assert not line["again"]
    status, said = site.ask("read", {"text": TEXT, "chat": True})
    assert (status, "has no chat template" in said["error"]) == (422, True)


def test_units_are_found_by_a_text_page_by_page(site: Site) -> None:
    query = f"/api/rows?fires={quote(TEXT)}&without={quote('filler1 orchard3 filler2')}"
    status, whole = site.get(query)
    names = [row["unit_id"] for row in whole["rows"]]
    assert (status, "feature-0" in names, "feature-1" in names) == (200, True, False)  # harbour, and not orchard
    pages = [site.get(f"{query}&from={first}&limit=1")[1]["rows"] for first in range(len(names))]
    assert [row["unit_id"] for [row] in pages] == names
    within = site.get(f"/api/units/{names[0]}{query[len('/api/rows') :]}")[1]["within"]
    assert within["place"] == 0
    assert site.get(f"/api/rows?fires={'x' * 1001}")[0] == 422


def test_a_reading_is_answered_between_two_tokens_of_a_continuation(site: Site) -> None:
    site.signal(signal.SIGSTOP)
    streams = [site.send("continue", LONG | {"seed": seed, "temperature": 1.0}) for seed in (1, 2)]
    until(lambda: site.live.process is not None and site.live.process.waiting == 2)
    reading = site.send("read", {"text": TEXT})
    until(lambda: site.live.process is not None and site.live.process.waiting == 3)
    assert site.get("/api/rows")[0] == 200  # pages answer while the model thinks
    site.signal(signal.SIGCONT)
    assert reading.getresponse().status == 200
    assert site.busy  # the continuations go on
    for stream in streams:
        lines = stream.getresponse().read().split(b"\n")
        assert json.loads(lines[-2]) == {"end": "length"}
        stream.close()
    reading.close()


def test_a_visitor_who_has_gone_is_not_answered_further(site: Site) -> None:
    site.signal(signal.SIGSTOP)
    for path, body in (("continue", LONG | {"seed": 9}), ("read", {"text": TEXT})):
        connection = site.send(path, body)
        until(lambda: site.busy)
        connection.close()
        until(lambda: not site.busy)
    site.signal(signal.SIGCONT)
    assert site.ask("read", {"text": TEXT})[0] == 200


def test_too_many_questions_at_once_are_refused_until_some_are_answered(site: Site) -> None:
    site.signal(signal.SIGSTOP)
    waiting = [site.send("read", {"text": TEXT}) for _ in range(limits.OF_VISITOR)]
    until(lambda: site.live.process is not None and site.live.process.waiting == limits.OF_VISITOR)
    for path, body in (("read", {"text": TEXT}), ("continue", LONG)):
        status, said = site.ask(path, body)
        assert status == 429
        assert f"{limits.OF_VISITOR} of your questions are being answered" in str(said)
    assert site.get("/api/rows?fires=filler3")[0] == 429
    site.signal(signal.SIGCONT)
    assert [connection.getresponse().status for connection in waiting] == [200] * limits.OF_VISITOR
    for connection in waiting:
        connection.close()
    assert site.ask("read", {"text": TEXT})[0] == 200


def test_an_answer_that_takes_too_long_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTINUE_S", 0.2)
    monkeypatch.setattr(limits, "READ_S", 0.2)
    site.signal(signal.SIGSTOP)
    assert site.ask("continue", LONG) == (200, [{"end": "time"}])
    assert site.ask("read", {"text": TEXT})[0] == 503
    site.signal(signal.SIGCONT)
    monkeypatch.undo()
    assert site.ask("read", {"text": TEXT})[0] == 200


def test_a_process_that_is_killed_in_mid_stream_is_said_and_started_again(site: Site) -> None:
    connection = site.send("continue", LONG | {"seed": 5, "temperature": 1.0})
    stream = connection.getresponse()
    assert "steered" in json.loads(stream.readline())
    site.signal(signal.SIGSTOP)
    reading = site.send("read", {"text": TEXT})
    until(lambda: site.live.process is not None and site.live.process.waiting == 2)
    site.signal(signal.SIGKILL)
    *_, line = stream.read().strip().split(b"\n")
    said = json.loads(line)
    assert said["error"] == (
        "the model has to be opened again, which takes some seconds: its process was ended by signal 9 while it was in use"
    )
    assert said["again"]
    answer = reading.getresponse()
    assert (answer.status, b"opened again" in answer.read()) == (503, True)
    reading.close()
    connection.close()
    assert site.ask("read", {"text": TEXT})[0] == 200


def test_the_server_ends_with_its_model_and_the_model_with_its_server(index: IndexFolder) -> None:
    stopped = "autointerp: stopped\n"
    for number, streams, code, complaint in (
        (signal.SIGINT, True, INTERRUPTED_EXIT_CODE, stopped),
        (signal.SIGINT, False, INTERRUPTED_EXIT_CODE, stopped),
        (signal.SIGKILL, False, -9, ""),
    ):
        command = ["-m", "autointerp", "explore", str(index.path), "--no-browser", "--results", str(index.path.parent)]
        server = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert server.stdout is not None
        site = Site(server.stdout.readline().strip().rstrip("/"), LiveHost())
        asked = [site.send("open", {})]
        until(lambda: bool(_workers(server.pid)))  # noqa: B023
        [worker] = _workers(server.pid)
        if streams:
            assert asked[0].getresponse().status == 200
            asked += [site.send("continue", LONG | {"text": text}) for text in (TEXT, "harbour1")]
            asked.append(site.send("read", {"text": TEXT}))
            assert asked[1].getresponse().readline()
        server.send_signal(number)  # else while the model is being opened
        assert server.communicate(timeout=60)[1] == complaint
        for connection in asked:
            connection.close()
        assert server.returncode == code
        until(lambda: not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes())  # noqa: B023


def _workers(parent: int) -> list[int]:
    """The processes of models that a server has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                is_child = int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent
                if is_child and b"explorer.live.worker" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # it has ended
                continue
    return found
