"""Replies are bounded in their whole time and in their size, whatever a server sends."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from autointerp.judges.base import MayRetry
from autointerp.judges.providers.http import MAX_BODY
from autointerp.judges.registry import open_judge
from autointerp.messages import MarkedText, Prompt, ScoreMaterial, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODELS = ("anthropic/claude-haiku-5-5", "openai-compatible/qwen")
PROMPT = Prompt(
    "Grade it.", "the cat sat", {"type": "object", "properties": {}}, 64, ScoreMaterial("c", MarkedText(("c",), 0))
)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request, and then sends whatever `answer` sends."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


def fails(model: str, url: str, monkeypatch: pytest.MonkeyPatch, timeout_s: float = 1.0) -> MayRetry:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-12345678")
    base_url = url if model.startswith("anthropic") else f"{url}/v1"
    settings = JudgeSettings(model=model, base_url=base_url, timeout_s=timeout_s)
    with closing(open_judge(settings, None)) as judge, pytest.raises(MayRetry) as failed:  # type: ignore[arg-type]
        judge.ask(PROMPT)
    return failed.value


@pytest.mark.parametrize("model", MODELS)
def test_headers_that_arrive_a_byte_at_a_time_end_at_the_timeout(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    with server(drip) as url:
        began = time.monotonic()
        failed = fails(model, url, monkeypatch)
        assert time.monotonic() - began < 30.0, "without a bound it takes 800 s"
    assert "did not answer within 1 s" in str(failed)
    assert failed.usage == Usage(known=False)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_a_small_reply_that_unpacks_to_a_large_one_is_not_unpacked(
    model: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b" " * (8 * MAX_BODY))
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    with server(lambda connection: connection.sendall(head.encode() + packed)) as url:
        failed = fails(model, url, monkeypatch, timeout_s=60.0)
    assert "larger than 16 MiB" in str(failed)
