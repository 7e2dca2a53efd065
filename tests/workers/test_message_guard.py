"""A real worker on a real Redis is sent what does not belong there."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.locations import ROOT
from support.services.servers import RedisServer, redis_server

from workers.message_guard import MAX_BYTES, problem_with_envelope, problem_with_task

GOOD = "workers.tasks.note"


def envelope(
    body: Any = None, *, raw: bytes | None = None, headers: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A task message as it lies in Redis."""
    content = raw if raw is not None else json.dumps([[], {"run_id": "a"}, {}] if body is None else body).encode()
    properties = {
        "correlation_id": "1",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "judge"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": os.urandom(8).hex(),
    }
    return {
        "body": base64.b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": GOOD, "id": os.urandom(8).hex()} | (headers or {}),
        "properties": properties,
    } | more


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("echo BOMB RAN",)


SECRET = "x marks the spot " * 400
HOSTILE: dict[str, tuple[Any, str]] = {
    "foreign task": (envelope(headers={"task": "os.system"}), r"task 'os\.system' is not a task of this service"),
    "celery's own task": (envelope(headers={"task": "celery.chain"}), r"task 'celery\.chain' is not a task"),
    "a name of many lines": (envelope(headers={"task": "a\nFORGED"}), r"task 'a\\\\?nFORGED' is not a task"),
    "task is a list": (envelope(headers={"task": [1]}), r"task \[1\] is not a task"),
    "no task": ({**envelope(), "headers": {}}, "task None is not a task"),
    "pickle": (
        envelope(raw=pickle.dumps(Bomb()), **{"content-type": "application/x-python-serialize"}),
        "its content is 'application/x-python-serialize'",
    ),
    "pickle that says JSON": (envelope(raw=pickle.dumps(Bomb())), "arguments that it does not accept"),
    "oversized body": (envelope([[], {"run_id": SECRET}, {}]), rf"it has \d+ bytes, more than {MAX_BYTES}"),
    "oversized headers": (envelope(headers={"argsrepr": SECRET}), rf"bytes, more than {MAX_BYTES}"),
    "compressed": (
        envelope(raw=zlib.compress(b"0" * 1_000_000), headers={"compression": "application/x-gzip"}),
        "it is compressed by 'application/x-gzip'",
    ),
    "too many arguments": (envelope([["a", "b"], {}, {}]), "arguments that it does not accept"),
    "argument of another name": (envelope([[], {"path": "a"}, {}]), "arguments that it does not accept"),
    "argument that is not text": (envelope([[], {"run_id": {"a": 1}}, {}]), "arguments that are not plain names"),
    "argument that is a path": (envelope([[], {"run_id": "../../etc"}, {}]), "arguments that are not plain names"),
    "body is not a list": (envelope({"a": 1}), "arguments that it does not accept"),
    "callbacks": (
        envelope([[], {"run_id": "a"}, {"callbacks": [{"task": GOOD}]}]),
        "has 'callbacks', tasks to run after it",
    ),
    "later": (envelope(headers={"eta": "2999-01-01T00:00:00"}), "has no id, or a start time"),
    "wrong expiry": (envelope(headers={"expires": "never"}), "Celery cannot read it"),
    "id is a list": (envelope(headers={"id": [1]}), "has no id"),
    "protocol 1": (envelope({"task": GOOD, "id": "1", "args": [], "kwargs": {}}), "arguments that it does not accept"),
    "no properties": ({"body": "", "headers": {}}, "no headers or no properties"),
    "no delivery tag": ({**envelope(), "properties": {}}, "no delivery tag"),
    "headers are a list": ({**envelope(), "headers": []}, "no headers or no properties"),
    "a list": ([1, 2], "it is not a message"),
    "nothing": (None, "it is not a message"),
}


def deep(opening: str) -> bytes:
    """JSON that is nested too deeply to be decoded."""
    return opening.encode() * 100_000


NOT_JSON = (b"", b"\x80\x04", b"{", b"hello", b"[" * 100_000)
NESTED = (deep("["), deep('{"a":'))
BROADCAST = (*NESTED, *(json.dumps(envelope(raw=nested)) for nested in NESTED))


@contextmanager
def worker(broker: str, log: Path) -> Iterator[Callable[[str, int], str]]:
    """A worker process; yields a function that waits until its log holds a pattern so often, and returns the log."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "support.services.guarded_app",
        "worker",
        "-Q",
        "judge",
        "--pool",
        "threads",
        "-c",
        "2",
    ]
    env = os.environ | {"AUTOINTERP_BROKER": broker, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with log.open("w") as out:
        process = subprocess.Popen([*command, "-l", "INFO"], stdout=out, stderr=subprocess.STDOUT, env=env, cwd=ROOT)

    def wait_for(pattern: str, times: int = 1) -> str:
        deadline = time.monotonic() + 60
        while len(re.findall(pattern, text := log.read_text())) < times:
            assert process.poll() is None, f"the worker ended:\n{text}"
            assert time.monotonic() < deadline, f"no {times} x {pattern} in:\n{text}"
            time.sleep(0.05)
        return text

    try:
        yield wait_for
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_hostile_messages_are_rejected_and_logged_and_good_ones_still_run(
    redis_service: RedisServer, tmp_path: Path
) -> None:
    with redis_service.client() as client, worker(redis_service.url, tmp_path / "log") as wait_for:
        wait_for("ready")
        for message, _ in HOSTILE.values():
            client.lpush("judge", json.dumps(message))
        for junk in NOT_JSON:
            client.lpush("judge", junk)
        for content in BROADCAST:
            assert client.publish("/0.celery.pidbox", content) == 1
        client.lpush("judge", json.dumps(envelope([[], {"run_id": "the-good-one"}, {}])))
        log = wait_for("RAN the-good-one")
        sent = len(HOSTILE) + len(NOT_JSON) + len(BROADCAST)
        log = wait_for(r"message on queue .* rejected", sent)
        rejections = [line for line in log.splitlines() if "rejected" in line]
        assert len(rejections) == sent
        for name, (_, says) in HOSTILE.items():
            assert any(re.search(says, line) for line in rejections), f"{name}: no line says {says}"
        assert sum("it is not a message (" in line for line in rejections) == len(NOT_JSON) + len(NESTED)
        assert log.count("RAN") == 1
        assert "Traceback" not in log
        assert "BOMB" not in log
        assert SECRET[:70] not in log
        assert max(map(len, rejections)) < 300
        deadline = time.monotonic() + 30
        while (left := client.llen("judge") + client.hlen("unacked")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == 0, "a rejected message is not put back"


def test_the_services_own_messages_pass(redis_service: RedisServer) -> None:
    """What a producer writes passes both looks, with room to spare."""
    code = "from support.services.guarded_app import note; note.delay(run_id='demo-0123456789abcdef')"
    env = os.environ | {"AUTOINTERP_BROKER": redis_service.url, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=ROOT)
    with redis_service.client() as client:
        raw = client.lpop("judge")
    message = json.loads(raw)
    assert problem_with_envelope(message, task=True) == ""
    assert len(raw) < MAX_BYTES / 2
    assert problem_with_task(message["headers"], base64.b64decode(message["body"]), TASKS) == ""


def test_a_worker_behind_the_guard_speaks_tls(tmp_path: Path) -> None:
    with redis_server(tls=True, password="secret") as server, server.client() as client:
        client.lpush("judge", json.dumps(envelope([[], {"run_id": "over-tls"}, {}])))
        with worker(f"{server.url}?ssl_ca_certs={server.ca}", tmp_path / "log") as wait_for:
            assert "secret" not in wait_for("RAN over-tls")


class Note:
    @staticmethod
    def run(run_id: str) -> None: ...


TASKS = {GOOD: Note}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values, st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]))
def test_no_message_breaks_the_guard(value: Any, body: Any, key: str) -> None:
    assert problem_with_envelope(value, task=True)
    changed = envelope() | {key: value}
    said = problem_with_envelope(changed, task=True)
    assert "\n" not in said
    if key != "body" and value != envelope()[key] and not isinstance(value, dict):
        assert said
    assert problem_with_task({"task": GOOD, "id": "1"}, json.dumps(body), TASKS)
    assert "\n" not in problem_with_task({"task": value, "id": "1"}, json.dumps(body), TASKS)


def test_the_services_app_is_behind_the_guard(redis_service: RedisServer) -> None:
    code = "from workers import message_guard as guard; from workers.app import app; connection = app.connection_for_read(); "
    code += "app.send_task('autointerp.judge', ['demo-0123456789abcdef']); print(connection.as_uri(), "
    code += "connection.get_transport_cls() is guard.GuardedTransport, app.conf.worker_consumer)"
    env = os.environ | {"AUTOINTERP_BROKER": redis_service.url}
    ended = subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=ROOT, capture_output=True, text=True)
    uri, guarded, consumer = ended.stdout.split()
    assert uri == f"redis://:**@127.0.0.1:{redis_service.port}/0"
    assert (guarded, consumer) == ("True", "workers.message_guard:GuardedConsumer")
    with redis_service.client() as client:
        raw = client.lpop("judge")
    assert problem_with_envelope(json.loads(raw), task=True) == ""
    assert len(raw) < MAX_BYTES / 2
