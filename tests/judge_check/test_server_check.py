"""`autointerp judges check URL` against servers in the manner of the usual ones."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.providers.manners import MANNERS, Manner
from support.providers.server import ProviderServer

from autointerp.cli.main import main


def check(manner: Manner, *options: str, **server: bool) -> dict[str, str]:
    with ProviderServer(manner=manner, **server) as provider:  # type: ignore[arg-type]
        done = CliRunner().invoke(main, ["judges", "check", f"{provider.url}/v1", "--json", "--quiet", *options])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def test_it_prints_what_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-test-12345678")
    rows = check(MANNERS["vllm"])
    assert rows["context"] == "8,192 tokens"
    assert rows["system role"] == "no: its text goes into the question"
    assert rows["JSON"] == "by schema"
    assert rows["model"] == "m"
    assert rows["logprobs"].startswith("yes")
    assert rows["probe"].startswith("probed with 2 calls")


def test_it_says_that_a_server_cuts_prompts_and_has_no_logprobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-test-12345678")
    rows = check(MANNERS["ollama"], "--set", "judge.server=ollama", report_logprobs=False)
    assert "read 256 of about" in rows["tokens"]
    assert "it cuts prompts" in rows["tokens"]
    assert rows["logprobs"].startswith("no")
    assert rows["probe"].startswith("none needed")
