"""The keys of [judge] for Chat Completions servers, and the table of servers."""

from __future__ import annotations

from typing import Any

import pytest

from autointerp.errors import UsageError
from autointerp.judges.request_form import form_of, is_certain
from autointerp.spec.judge_sections import Judge
from autointerp.spec.servers import SERVERS, server_at
from autointerp.spec.spec import Spec, from_toml, parse

LOCAL = {"model": "openai-compatible/m", "base_url": "http://127.0.0.1:8000/v1"}


def spec(**judge: Any) -> Spec:
    return parse(
        {
            "subject": {"model": "m"},
            "dictionary": {"path": "d"},
            "corpus": {"sources": ["c"]},
            "judge": LOCAL | judge,
        }
    )


def test_a_spec_with_every_key_of_a_server_is_read_back_as_it_was_written() -> None:
    written = spec(
        server="vllm", system_role=False, json="object", thinking_switch="no_think", max_completion_tokens=True,
        extra_body={"top_k": 1, "provider": {"order": ["a"]}},
    )  # fmt: skip
    assert from_toml(written.to_toml()) == written
    assert hash(from_toml(written.to_toml()).judge) == hash(written.judge)


def test_only_extra_fields_of_the_request_change_the_hash_of_a_run() -> None:
    plain = spec()
    assert "extra_body" not in plain.identity()["judge"]
    assert spec(server="vllm", system_role=False, json="prompt", thinking_switch="none").hash() == plain.hash()
    assert spec(extra_body={"top_k": 1}).hash() != plain.hash()


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"extra_body": {"max_tokens": 9}}, "extra_body may not set max_tokens"),
        ({"json": "yaml"}, "json"),
        ({"model": "anthropic/claude-haiku-4-5", "json": "object"}, "json is for openai-compatible/ models"),
        ({"base_url": None, "server": "vllm"}, "needs base_url"),
        ({"jsn": "object"}, "did you mean json"),
    ],
)
def test_a_key_that_cannot_hold_is_named(judge: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        spec(**judge)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://my-resource.openai.azure.com/openai/v1/", "azure"),
        ("http://10.0.0.4:11434/v1", "ollama"),
        ("https://api.deepseek.com.evil.example/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1", None),
    ],
)
def test_a_server_is_known_by_its_host_or_port(url: str, name: str | None) -> None:
    server = server_at(url)
    assert (server.name if server else None) == name


@pytest.mark.parametrize("name", [name for name, server in SERVERS.items() if server.base_url])
def test_a_server_with_one_address_needs_no_other(name: str) -> None:
    judge = Judge(model="openai-compatible/m", server=name)  # type: ignore[arg-type]
    assert server_at(judge.address) == SERVERS[name]


def test_no_probe_is_needed_once_the_spec_says_all() -> None:
    assert not is_certain(Judge(**LOCAL))
    assert is_certain(Judge(**LOCAL, system_role=True, json="object"))
    assert form_of(Judge(**LOCAL, system_role=True, json="object")).json == "object"
    assert not is_certain(Judge(**LOCAL | {"model": "openai-compatible/qwen3"}, system_role=True, json="object"))
