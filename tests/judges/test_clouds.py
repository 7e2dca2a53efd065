"""Judges on Azure, Bedrock and Vertex: the SDKs' own classes, with the replies, errors and limits of the other judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from support.providers.grading import PROMPT
from support.providers.server import Faults, ProviderServer, Script

from autointerp.errors import UsageError
from autointerp.judges.base import ItemFailed, Judge, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.prices import price_of, retirement_note
from autointerp.judges.registry import check_transport, no_probabilities, open_judge
from autointerp.messages import Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import anthropic_name, provider_of

BEDROCK = "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0"
VERTEX = "vertex/claude-haiku-4-5@20251001"
MODELS = ("azure/my-deployment", BEDROCK, VERTEX)
KEY = "sk-test-12345678"
Asking = Callable[..., tuple[Judge, ProviderServer]]
VARIABLES = {
    "OPENAI_API_VERSION": "2026-05-01-preview", "AWS_REGION": "eu-west-1", "CLOUD_ML_REGION": "europe-west1",
    "ANTHROPIC_VERTEX_PROJECT_ID": "a-project", "MY_KEY": KEY,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def asking() -> Iterator[Asking]:
    opened: list[Callable[[], object]] = []

    def build(model: str, *faults: str | None, **changes: Any) -> tuple[Judge, ProviderServer]:
        server = ProviderServer(faults=Script(*faults) if faults else Faults(0.0, 0)).start()
        base_url = f"{server.url}/v1" if model.startswith("azure") else server.url
        settings = JudgeSettings(model=model, base_url=base_url, **{"timeout_s": 10.0, "key_env": "MY_KEY", **changes})
        judge = open_judge(settings, None)  # type: ignore[arg-type]
        opened.extend((judge.close, server.stop))
        return judge, server

    yield build
    for close in opened:
        close()


@pytest.mark.parametrize("model", MODELS)
def test_a_reply_has_the_usage_that_the_server_billed(model: str, asking: Asking) -> None:
    judge, server = asking(model)
    reply = judge.ask(PROMPT)
    [entry] = server.books
    assert (reply.stop, reply.text) == ("complete", '{"reason": "decided by hash", "grade": 3}')
    assert reply.usage == Usage(entry.input_tokens, entry.output_tokens)
    assert reply.served_model == model.partition("/")[2]
    assert judge.identity()["provider"] == provider_of(model)
    assert judge.count_tokens(PROMPT) is None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("429_seconds", MustWait),
        ("500", MayRetry),
        ("drop", MayRetry),
        ("401", MustStop),
        ("content_policy", ItemFailed),
    ],
)
def test_errors_have_the_outcomes_of_the_table_after_one_attempt(
    model: str, asking: Asking, fault: str, outcome: type[JudgeError]
) -> None:
    judge, server = asking(model, fault, None)
    with pytest.raises(outcome) as failed:
        judge.ask(PROMPT)
    assert len(server.books) == 1
    assert KEY not in str(failed.value)
    assert judge.ask(PROMPT).stop == "complete"


@pytest.mark.parametrize("model", MODELS)
def test_a_missing_region_or_address_is_said_in_one_line(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_VERSION", "CLOUD_ML_REGION", "ANTHROPIC_VERTEX_PROJECT_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    if model == BEDROCK:
        assert open_judge(JudgeSettings(model=model), None).name == model  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match="cannot be opened") as refused:
        open_judge(JudgeSettings(model=model), None)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(
    bool(find_spec("google.auth") if find_spec("google") else None), reason="it would look for credentials"
)
def test_credentials_that_cannot_be_found_stop_the_run_in_one_line() -> None:
    judge = open_judge(JudgeSettings(model=VERTEX), None)  # type: ignore[arg-type]
    with pytest.raises(MustStop, match=r"vertex cannot be called: .*: check the credentials of the cloud") as stopped:
        judge.ask(PROMPT)
    assert "\n" not in str(stopped.value)


def test_the_cloud_s_credentials_go_to_its_own_address_only(monkeypatch: pytest.MonkeyPatch, asking: Asking) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "secret-of-the-cloud")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-cloud")
    judge, _ = asking(BEDROCK, key_env=None)
    assert judge._client._sdk.api_key == "none"  # type: ignore[attr-defined]
    own = open_judge(JudgeSettings(model=BEDROCK), None)  # type: ignore[arg-type]
    assert own._client._sdk.api_key == "secret-of-the-cloud"  # type: ignore[attr-defined]
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    for base_url, refused in (
        ("https://mine.openai.azure.com/openai", False),
        ("https://elsewhere.example/openai", True),
    ):
        settings = JudgeSettings(model="azure/x", base_url=base_url)
        if refused:
            with pytest.raises(UsageError, match="is not an address of azure"):
                open_judge(settings, None)  # type: ignore[arg-type]
        else:
            open_judge(settings, None).close()  # type: ignore[arg-type]


def test_models_of_clouds_have_the_prices_of_anthropic_as_an_assumption() -> None:
    own = price_of("anthropic/claude-haiku-4-5")
    assert own is not None
    for model in (BEDROCK, VERTEX):
        assert anthropic_name(model) == "claude-haiku-4-5-20251001"
        price = price_of(model)
        assert price is not None
        assert (price.input, price.output, price.uncertain) == (own.input, own.output, True)
        assert "is assumed to charge" in price.source
        assert retirement_note(model) is None
    assert price_of("azure/my-deployment") is None
    assert anthropic_name("bedrock/anthropic.claude-x-v2") == "claude-x"


def test_settings_that_a_claude_model_does_not_accept_are_refused_on_clouds_too() -> None:
    with pytest.raises(UsageError, match="Claude's API takes no temperature"):
        open_judge(JudgeSettings(model=BEDROCK, temperature=0.5), None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has no batch API"):
        check_transport(JudgeSettings(model=VERTEX, transport="batch"))
    assert no_probabilities(JudgeSettings(model=VERTEX)) is not None
