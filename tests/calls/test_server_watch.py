"""What a server says of itself is held against what it is asked before the budget is spent, and never passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.providers.manners import MANNERS, Manner
from support.providers.server import ProviderServer

from autointerp.calls.caller import Caller
from autointerp.calls.server_watch import CUT_REPLIES
from autointerp.errors import ProviderStopped
from autointerp.judges.registry import open_judge
from autointerp.judges.server_context import stated_context
from autointerp.ledger import events, jobs, runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

RULES = rubric.load("specificity")
PAGES: dict[str, dict[str, Any]] = {
    "vLLM": {"/v1/models": {"data": [{"id": "m", "max_model_len": 512}]}},
    "OpenRouter, Together": {"/v1/models": {"data": [{"id": "other"}, {"id": "m", "context_length": 512}]}},
    "Groq": {"/v1/models": {"data": [{"id": "m", "context_window": 512}]}},
    "llama.cpp": {
        "/v1/models": {"data": [{"id": "m", "meta": {"n_ctx_train": 131072}}]},
        "/props": {"default_generation_settings": {"n_ctx": 512}, "total_slots": 4},
    },
    "Ollama": {
        "/v1/models": {"data": [{"id": "m"}]},
        "/api/ps": {"models": [{"name": "m", "model": "m", "context_length": 512}]},
    },
}
ODD_PAGES: list[Any] = [{}, [], {"data": None}, {"data": [None, 5, {"id": "m"}]}, {"data": [{"id": "m", "max_model_len": -1}]}, {"data": [{"id": "m", "max_model_len": 1e400}]}, {"data": [{"id": "m", "max_model_len": "512"}]}]  # fmt: skip
Opening = Callable[..., Caller]


@pytest.fixture
def opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opening]:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-test-12345678")
    ledger = Ledger.in_folder(tmp_path)
    with ledger.write() as tx:
        runs.register(tx, run_id="run", name="run", spec_hash="", spec="")
        jobs.plan(tx, "run", [Job(f"job-{i}", "score", place=i) for i in range(300)])
    callers: list[Caller] = []

    def build(server: ProviderServer, **keys: Any) -> Caller:
        settings = settings_for(server, **keys)
        callers.append(Caller(ledger, "run", open_judge(settings, RULES), settings, Limits(None)))
        return callers[-1]

    yield build
    for caller in callers:
        caller.judge.close()
    ledger.close()


def settings_for(server: ProviderServer, **keys: Any) -> JudgeSettings:
    given = {"system_role": True, "json": "schema", "timeout_s": 20.0} | keys
    return JudgeSettings(model="openai-compatible/m", base_url=f"{server.url}/v1", **given)


def ask(caller: Caller, number: int, how: single_grade.Ask = "reason") -> object:
    prompt = single_grade.prompt(RULES, ScoreMaterial("cats", MarkedText(("the ", f"cat{number}"), 1)), 256, how)
    job = Job(f"job-{number}", "score")
    return caller.ask(prompt, lambda text: single_grade.parse(RULES, text, how), job, 0).value


def warnings(caller: Caller) -> list[str]:
    with caller.ledger.read() as tx:
        return [str(row["text"]) for row in events.of_run(tx, "run") if row["level"] == "warning"]


@pytest.mark.parametrize("server", PAGES)
def test_a_stated_context_smaller_than_the_questions_stops_the_run_before_any_is_asked(
    server: str, opening: Opening
) -> None:
    with ProviderServer(manner=Manner(pages=PAGES[server])) as provider:
        caller = opening(provider)
        with pytest.raises(
            ProviderStopped, match=r"states a context of 512 tokens, and a question has about [\d,]+: raise"
        ):
            ask(caller, 0)
        assert provider.books == []


@pytest.mark.parametrize("page", ODD_PAGES, ids=repr)
def test_a_page_that_states_no_context_is_none(page: Any) -> None:
    with ProviderServer(manner=Manner(pages=dict.fromkeys(("/v1/models", "/props", "/api/ps"), page))) as provider:
        assert stated_context(settings_for(provider)) is None
    assert stated_context(settings_for(provider)) is None, "nobody listens there any more"


def test_a_context_that_the_questions_fit_into_stops_nothing(opening: Opening) -> None:
    with ProviderServer(manner=Manner()) as provider:
        caller = opening(provider)
        assert ask(caller, 0) is not None
        assert warnings(caller) == []


def test_prompts_that_a_server_cuts_are_said_after_the_first_few(opening: Opening) -> None:
    with ProviderServer(manner=MANNERS["ollama"]) as provider:
        caller = opening(provider)
        shown: list[str] = []
        caller.watch.notify = shown.append
        for number in range(CUT_REPLIES + 4):
            ask(caller, number)
            assert len(shown) == (number + 1 >= CUT_REPLIES)
    assert warnings(caller) == shown
    assert "it read 256 tokens of a prompt of about" in shown[0]
    assert "it may cut prompts" in shown[0]


@pytest.mark.parametrize(
    ("headers", "keys", "said"),
    [
        ({"x-ratelimit-limit-requests": "1"}, {}, "a limit of 1 request per minute, at which the 300 questions that are left take about 5.0 h"),
        ({"x-ratelimit-limit-tokens": "900"}, {}, "set judge.input_tokens_per_minute"),
        ({"x-ratelimit-limit-requests": "1"}, {"requests_per_minute": 600}, None),
        ({"x-ratelimit-limit-requests": "5000"}, {}, None),
    ],
)  # fmt: skip
def test_a_stated_rate_limit_that_makes_a_run_crawl_is_said_at_once(
    headers: dict[str, str], keys: dict[str, Any], said: str | None, opening: Opening
) -> None:
    with ProviderServer(headers=headers) as provider:
        caller = opening(provider, **keys)
        ask(caller, 0)
    assert len(warnings(caller)) == (said is not None)
    assert said is None or said in warnings(caller)[0]


def test_probabilities_that_are_asked_for_and_absent_stop_the_run_at_the_first_question(opening: Opening) -> None:
    with ProviderServer(report_logprobs=False) as provider:
        caller = opening(provider)
        with pytest.raises(ProviderStopped, match=r"gives no probabilities of its tokens: set score\.ask to grade"):
            ask(caller, 0, "logprobs")
        assert len(provider.books) == 1
