"""What is hidden by value and by look, and what stays."""

from __future__ import annotations

import pytest

from autointerp import redaction


@pytest.mark.parametrize(
    "key", ["gsk_" + "a1" * 10, "xai-" + "b2" * 10, "AIza" + "c3" * 15, "no known look 4", 'with "quotes" 5']
)
def test_a_key_in_the_environment_is_hidden_by_its_value(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("SOME_GATEWAY_KEY", key)
    redaction.learn()
    assert redaction.hide_known(f"the key {key} is wrong") == "the key *** is wrong"


@pytest.mark.parametrize("key", ["gsk_" + "d4" * 10, "xai-" + "e5" * 10, "AIza" + "f6" * 15, "sk-ant-" + "g7" * 9])
def test_an_unknown_key_is_hidden_by_its_look(key: str) -> None:
    assert redaction.hide(f"the key {key} is wrong") == "the key *** is wrong"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@h/d", "postgresql+psycopg://me:***@h/d"),
        ("postgresql+psycopg://me:se@cr/et@h/d", "postgresql+psycopg://me:***@h/d"),
        ("postgresql+psycopg://h/d?user=me&password=secret&x=1", "postgresql+psycopg://h/d?user=me&password=***&x=1"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("sqlite:///results/ledger.sqlite", "sqlite:///results/ledger.sqlite"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
    ],
)
def test_passwords_in_urls_are_hidden(url: str, shown: str) -> None:
    assert redaction.hide_passwords(url) == shown
    assert redaction.hide(f"{shown} cannot be opened") == f"{shown} cannot be opened", "hidden once, not twice"


def test_short_values_and_ordinary_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "EMPTY")
    redaction.learn()
    text = "EMPTY: the skeleton key of skating-competitions, 3 tokens a minute"
    assert redaction.hide(text) == text
