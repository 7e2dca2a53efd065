"""Finding out how a server wants to be asked, against servers in the manner of the usual ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.providers.manners import MANNERS, Manner
from support.providers.server import ProviderServer

from autointerp.calls import server_probe
from autointerp.calls.caller import Caller
from autointerp.errors import ProviderStopped
from autointerp.judges.registry import open_judge
from autointerp.ledger import calls, events, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.records import Outcome
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

SPECIFICITY = rubric.load("specificity")
PRESETS: dict[str, tuple[str, dict[str, Any], int, dict[str, Any], str]] = {
    # manner: model, keys of [judge], calls spent on probes, what the questions then hold, words of the finding
    "vllm": ("google/gemma-2-9b-it", {"server": "vllm"}, 2, {"roles": "user", "json": "json_schema"}, "no system role"),
    "vllm thinking": (
        "Qwen/Qwen3-8B", {"server": "vllm"}, 1, {"json": "json_schema", "chat_template_kwargs": {"enable_thinking": False, "thinking": False}}, "takes",
    ),
    "vllm with a reasoning parser": ("Qwen/Qwen3-8B", {"server": "vllm", "thinking": True}, 1, {"json": "json_schema"}, "takes"),
    "llama.cpp": ("gemma-2-2b", {}, 5, {"roles": "user", "json": "json_schema"}, "no system role"),
    "ollama": ("qwen2.5:7b", {"server": "ollama"}, 0, {"json": "json_schema"}, ""),
    "openrouter": ("qwen/qwen3-32b", {"server": "openrouter"}, 2, {"reasoning": {"enabled": False}}, "takes"),
    "deepseek": ("deepseek-chat", {"server": "deepseek"}, 1, {"json": "json_object", "thinking": {"type": "disabled"}}, "takes"),
    "gemini": ("gemini-2.5-flash", {"server": "gemini"}, 1, {"reasoning_effort": "none"}, "takes"),
    "groq": ("llama-3.3-70b-versatile", {"server": "groq"}, 2, {"json": "json_object", "limit": "max_completion_tokens"}, "no JSON schema"),
    "together": ("meta-llama/Llama-3.3-70B-Instruct-Turbo", {"server": "together"}, 2, {"roles": "system user", "json": "json_schema"}, "takes"),
    "azure": ("gpt-5-mini", {"server": "azure"}, 2, {"limit": "max_completion_tokens", "temperature": None}, "no temperature"),
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr("autointerp.judges.retry._backoff", lambda state: 0.0)
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-test-12345678")
    opened = Ledger.in_folder(tmp_path)
    with opened.write() as tx:
        runs.register(tx, run_id="run", name="run", spec_hash="", spec="")
    yield opened
    opened.close()


def caller_of(ledger: Ledger, settings: JudgeSettings) -> Caller:
    return Caller(ledger, "run", open_judge(settings, SPECIFICITY), settings, Limits(None))


def settings_for(provider: ProviderServer, model: str = "m", **keys: Any) -> JudgeSettings:
    return JudgeSettings(model=f"openai-compatible/{model}", base_url=f"{provider.url}/v1", timeout_s=20.0, **keys)


def question() -> Prompt:
    return single_grade.prompt(SPECIFICITY, ScoreMaterial("cats", MarkedText(("the ", "cat", " sat"), 1)), 256)


def ask(caller: Caller) -> Outcome:
    answer = caller.ask(question(), lambda text: single_grade.parse(SPECIFICITY, text), Job("job", "score"), 0)
    return answer.outcome


def seen(body: dict[str, Any]) -> dict[str, Any]:
    """What matters of a request."""
    limit = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
    return body | {
        "roles": " ".join(message["role"] for message in body["messages"]),
        "json": (body.get("response_format") or {}).get("type"),
        "limit": limit,
        "temperature": body.get("temperature"),
    }


@pytest.mark.parametrize("manner", MANNERS)
def test_a_server_is_asked_in_its_manner_with_no_more_than_its_preset(ledger: Ledger, manner: str) -> None:
    model, keys, probes, holds, finding = PRESETS[manner]
    with ProviderServer(manner=MANNERS[manner]) as server:
        settings = settings_for(server, model, **keys)
        caller = caller_of(ledger, settings)
        with closing(caller.judge):
            line = server_probe.settle_patiently(caller, settings)
            assert len(server.books) == probes
            assert (line is None) == (probes == 0)
            if line:
                assert finding in line
                assert f"probed with {probes} call" in line
            assert ask(caller) is Outcome.SCORED
        last = seen(server.bodies[-1])
        assert {name: last[name] for name in holds} == holds
        asked = question()
        words = "\n".join(message["content"] for message in server.bodies[-1]["messages"])
        assert asked.user in words
        assert asked.system in words
        with ledger.read() as tx:
            assert calls.attempts_of(tx, "run", server_probe.JOB.job_key) == probes
            assert [row["text"] for row in events.of_run(tx, "run")] == ([line] if line else [])


def test_a_resumed_run_does_not_probe_again_even_if_the_server_has_changed(ledger: Ledger) -> None:
    with ProviderServer(manner=MANNERS["vllm"]) as server:
        settings = settings_for(server)
        for _ in range(2):
            caller = caller_of(ledger, settings)
            with closing(caller.judge):
                server_probe.settle_patiently(caller, settings)
            made = len(server.books)
            server.manner = Manner()
        assert made == 2
        assert not caller.judge.form.system_role  # type: ignore[attr-defined]


def test_a_probe_does_not_change_the_key_of_a_question(ledger: Ledger) -> None:
    with ProviderServer(manner=MANNERS["groq"]) as server:
        settings = settings_for(server)
        caller = caller_of(ledger, settings)
        with closing(caller.judge):
            before = dict(caller.judge.identity())
            server_probe.settle_patiently(caller, settings)
            assert caller.judge.identity() == before


REFUSALS = {
    "Mistral's template": (400, "Conversation roles must alternate user/assistant/user/assistant/...", "system_role"),
    "a strict gateway": (422, "messages.0.role: Input should be 'user' or 'assistant'; system is not permitted", "system_role"),
    "a server that says nothing": (400, "Bad request", "system_role"),
    "llama.cpp's grammar": (400, "Failed to parse grammar", "json"),
    "a field of LiteLLM": (400, "litellm.UnsupportedParamsError: m does not support parameters: ['response_format']", "json"),
    "o-series": (400, "Unsupported parameter: 'max_tokens' is not supported", "max_completion_tokens"),
    "vLLM with a template without the switch": (400, "chat_template_kwargs is not supported", "thinking_switch"),
}  # fmt: skip


def refuse(status: int, message: str, feature: str) -> Manner:
    """A server that refuses one feature in its words."""

    def refusal(body: dict[str, Any], _number: int) -> tuple[int, Any] | None:
        has = {
            "system_role": seen(body)["roles"] != "user",
            "json": bool(seen(body)["json"]),
            "max_completion_tokens": "max_tokens" in body,
            "thinking_switch": "chat_template_kwargs" in body,
        }
        return (status, {"error": {"message": message, "type": "x", "code": status}}) if has[feature] else None

    return Manner(refusal)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_an_unknown_server_refuses_is_left_out(ledger: Ledger, name: str) -> None:
    with ProviderServer(manner=refuse(*REFUSALS[name])) as server:
        settings = settings_for(server, "qwen3" if "switch" in name else "m")
        caller = caller_of(ledger, settings)
        with closing(caller.judge):
            server_probe.settle_patiently(caller, settings)
            assert len(server.books) <= 4
            assert ask(caller) is Outcome.SCORED


def test_a_server_that_ignores_the_schema_is_asked_in_words(ledger: Ledger) -> None:
    def prose(body: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        if body.get("response_format"):
            reply["choices"][0]["message"]["content"] = "I would give it a two."
        return reply

    with ProviderServer(manner=Manner(shape=prose)) as server:
        settings = settings_for(server)
        caller = caller_of(ledger, settings)
        with closing(caller.judge):
            assert "no JSON" in str(server_probe.settle_patiently(caller, settings))
            assert len(server.books) == 3
            assert ask(caller) is Outcome.SCORED


@pytest.mark.parametrize(
    ("manner", "keys", "key"),
    [("vllm", {"system_role": True}, "system_role"), ("groq", {"json": "schema"}, "json"), ("azure", {"temperature": 0.0}, "temperature")],
)  # fmt: skip
def test_a_server_that_refuses_a_key_of_the_spec_stops_the_run_with_its_name(
    ledger: Ledger, manner: str, keys: dict[str, Any], key: str
) -> None:
    with ProviderServer(manner=MANNERS[manner]) as server:
        settings = settings_for(server, max_completion_tokens=True, **keys)
        caller = caller_of(ledger, settings)
        with closing(caller.judge), pytest.raises(ProviderStopped, match=rf"judge\.{key}"):
            server_probe.settle_patiently(caller, settings)
