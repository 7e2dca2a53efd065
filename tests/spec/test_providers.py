"""The table of providers: its rows can be opened, priced and named, and nothing unknown counts as an LLM."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autointerp.judges import prices
from autointerp.judges.registry import load_class
from autointerp.spec.providers import MODEL_FORMS, PROVIDERS, is_llm, judge_facts, model_of, provider_of


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if row.entry_point is None])
def test_every_row_names_a_judge_and_a_price_table_that_exist(name: str) -> None:
    row = PROVIDERS[name]
    assert load_class(row.judge).is_llm is row.is_llm
    if row.batches is not None:
        assert load_class(row.batches).max_items > 0
    assert row.price_table is None or prices._table()[row.price_table]["models"]
    assert row.keys or not row.needs_key


def test_models_are_split_into_provider_and_name() -> None:
    assert (provider_of("openai-compatible/org/model"), model_of("openai-compatible/org/model")) == (
        "openai-compatible",
        "org/model",
    )
    assert (provider_of("embedded"), model_of("embedded")) == ("embedded", "")
    assert MODEL_FORMS == (
        "anthropic/MODEL, openai/MODEL, openai-compatible/MODEL, azure/MODEL, bedrock/MODEL, vertex/MODEL or embedded"
    )


def test_an_unknown_provider_does_not_count_as_an_llm() -> None:
    assert [is_llm(model) for model in ("anthropic/x", "openai-compatible/y", "embedded", "planted", "other/x")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert judge_facts("embedded", "openai/x") == {
        "judge": "embedded",
        "judge_is_llm": False,
        "explainer": "openai/x",
        "explainer_is_llm": True,
    }


def test_the_first_key_that_is_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    row = PROVIDERS["anthropic"]
    for name in row.keys:
        monkeypatch.delenv(name, raising=False)
    assert row.key_variable("", None) == ""
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "second")
    assert row.key_variable("", None) == "ANTHROPIC_AUTH_TOKEN"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "first")
    assert row.key_variable("", None) == "ANTHROPIC_API_KEY"


@pytest.mark.parametrize(
    ("model", "base_url", "own"),
    [
        ("anthropic", "https://api.anthropic.com", True),
        ("openai", "https://eu.api.openai.com/v1", True),
        ("openai", "http://api.openai.com/v1", False),
        ("openai", "https://api.openai.com.example.org/v1", False),
        ("openai", "https://notapi.openai.com.evil/v1", False),
        ("anthropic", "https://gateway.example.org/api.anthropic.com", False),
        ("anthropic", "http://127.0.0.1:4000", False),
        ("openai-compatible", "https://gateway.example.org/v1", True),
    ],
)
def test_a_providers_key_is_for_its_own_address(
    monkeypatch: pytest.MonkeyPatch, model: str, base_url: str, own: bool
) -> None:
    row = PROVIDERS[model]
    monkeypatch.setenv(row.keys[0], "the key")
    monkeypatch.setenv("PROXY_KEY", "another")
    assert row.key_variable(base_url, None) == (row.keys[0] if own else "")
    assert row.key_variable(base_url, "PROXY_KEY") == "PROXY_KEY"


def test_reading_the_table_imports_no_sdk() -> None:
    code = (
        "import sys, autointerp.spec.providers, autointerp.judges.registry;"
        "print(sorted({'anthropic', 'openai', 'httpx2', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
