from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from autointerp import redaction
from autointerp.settings import Settings
from workers import logs

KEY = "sk-ant-api03-" + "A1b2C3d4" * 4


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logs.NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_log_line_is_json_with_its_run_and_job(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log="json"), worker="host-1")
    log = structlog.get_logger()
    with logs.bind(run="demo-1", job="j1"):
        log.info("scored", grade=2)
        logging.getLogger("celery.worker").info("got %s", "it")
    log.warning("outside")
    first, second, third = lines(capsys)
    assert first["timestamp"].endswith("Z")
    assert {k: v for k, v in first.items() if k != "timestamp"} == {
        "event": "scored",
        "grade": 2,
        "level": "info",
        "run": "demo-1",
        "job": "j1",
        "worker": "host-1",
    }
    assert (second["event"], second["run"], second["worker"]) == ("got it", "demo-1", "host-1")
    assert "run" not in third
    assert third["level"] == "warning"


def test_keys_of_one_thread_do_not_show_in_another(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log="json"))
    with logs.bind(run="mine"):
        other = threading.Thread(target=lambda: structlog.get_logger().info("theirs"))
        other.start()
        other.join()
    assert "run" not in lines(capsys)[0]


def test_a_log_line_with_line_breaks_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log="json"))
    try:
        raise ValueError("a\nb")
    except ValueError:
        structlog.get_logger().exception("two\nlines", text="\u2028x")
    (line,) = [json.loads(line) for line in capsys.readouterr().err.split("\n") if line]
    assert line["event"] == "two\nlines"
    assert "ValueError: a\nb" in line["exception"]


def test_on_a_terminal_lines_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log="text"))
    structlog.get_logger().info("scored", grade=2)
    text = capsys.readouterr().err
    assert "scored" in text
    assert "grade=2" in text
    assert not text.startswith("{")


def test_prompts_are_logged_at_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        structlog.get_logger().debug("asked", prompt="PROMPT")
        for name in ("anthropic._base_client", "openai._base_client", "httpx2"):
            logging.getLogger(name).info("Request options: PROMPT")
            logging.getLogger(name).debug("Request options: PROMPT")

    logs.configure(Settings(log="json"))
    talk()
    assert capsys.readouterr().err == ""
    logs.configure(Settings(log="json", log_level="debug"))
    talk()
    assert capsys.readouterr().err.count("PROMPT") == 7


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sk-proj-" + "x" * 40,
        "hf_" + "Q" * 34,
        "AKIAIOSFODNN7EXAMPLE",
        "redis://:hunter2@redis:6379/0",
        "postgresql+psycopg://u:hunter2@db/autointerp",
        "Authorization: Bearer abc.def-ghi",
        "{'x-api-key': 'abcdef123456'}",
        "api_key=abcdef123456",
    ],
)
@pytest.mark.parametrize("style", ["json", "text"])
def test_no_key_is_logged_in_any_place(secret: str, style: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log=style))
    log = structlog.get_logger()
    try:
        raise ConnectionError(f"cannot reach {secret}")
    except ConnectionError:
        log.exception(f"event {secret}", value=secret, nested={"headers": [secret]})
    logging.getLogger("celery").error("failed with %s", secret)
    text = capsys.readouterr().err
    for part in (KEY, "x" * 40, "Q" * 34, "AKIAIOSFODNN7EXAMPLE", "hunter2", "abc.def-ghi", "abcdef123456"):
        assert part not in text
    assert text.count(redaction.HIDDEN) >= 4


def test_configured_keys_are_not_logged_in_any_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", 'looks "like" nothing')
    logs.configure(Settings(log="json"))
    structlog.get_logger().info("x", value='so: looks "like" nothing.')
    assert lines(capsys)[0]["value"] == f"so: {redaction.HIDDEN}."


@given(st.text(alphabet="abcdefgh 0123456789.,;:/-_'\"\n", max_size=60))
def test_a_redacted_line_stays_json(text: str) -> None:
    line = json.dumps({"event": text, "key": KEY, "url": f"redis://:{KEY}@h"})
    assert set(json.loads(redaction.hide(line))) == {"event", "key", "url"}


def test_ordinary_text_is_unchanged() -> None:
    for text in (
        "run demo-0123456789abcdef01234567",
        "the skeleton key of skating-competitions",
        "3 tokens: 10 a minute",
    ):
        assert redaction.hide(text) == text
