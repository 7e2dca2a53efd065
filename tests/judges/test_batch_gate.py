"""Whatever a provider says of a batch, and whatever stands in a line of its results, is bounded, cleaned and typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.providers.mutations import mutated, valid_body

from autointerp.judges.base import JudgeError
from autointerp.judges.batch_api import BatchStatus
from autointerp.judges.providers.anthropic_batches import AnthropicBatches
from autointerp.judges.providers.batch_gate import MessageBatch, OpenAIBatch
from autointerp.judges.providers.llm_batches import LLMBatches
from autointerp.judges.providers.openai_batches import OpenAIBatches
from autointerp.judges.registry import open_batches
from autointerp.messages import Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODELS = ("anthropic/claude-haiku-4-5", "openai/gpt-5.4-mini")
each_model = pytest.mark.parametrize("model", MODELS)
BATCHES: dict[str, list[dict[str, Any]]] = {
    MODELS[0]: [
        {
            "id": "msgbatch_1", "type": "message_batch", "created_at": "2026-11-21T10:00:00+00:00",
            "processing_status": "ended", "archived_at": archived,
            "request_counts": {"processing": 0, "succeeded": 5, "errored": 1, "canceled": 0, "expired": expired},
        }
        for archived, expired in [(None, 0), ("2026-11-22", 0), (None, 3)]
    ],
    MODELS[1]: [
        {
            "id": "batch_1", "created_at": 1_790_000_000, "status": status, "output_file_id": "file-1",
            "error_file_id": None, "request_counts": {"total": 6, "completed": 5, "failed": 1},
            "errors": {"data": [{"code": code, "message": "m", "line": 3}]}, "metadata": {"autointerp_batch": "k"},
        }
        for status, code in [("completed", None), ("failed", "x"), ("failed", "token_limit_exceeded"), ("expired", None)]
    ],
}  # fmt: skip
LINES: dict[str, list[dict[str, Any]]] = {
    MODELS[0]: [
        {"custom_id": "k-1", "result": {"type": "succeeded", "message": valid_body("anthropic")}},
        {"custom_id": "k-1", "result": {"type": "errored", "error": {"error": {"type": "api_error", "message": "m"}}}},
        {"custom_id": "k-1", "result": {"type": "expired"}},
    ],
    MODELS[1]: [
        {
            "custom_id": "k-1",
            "response": {"status_code": 200, "request_id": "r", "body": valid_body("responses")},
            "error": None,
        },
        {"custom_id": "k-1", "response": {"status_code": 429, "body": {"error": {"code": "slow_down"}}}, "error": None},
        {"custom_id": "k-1", "response": None, "error": {"code": "batch_expired", "message": "m"}},
    ],
}
"""Batches and lines of results as both providers send them."""


Status = Callable[[str, dict[str, Any]], BatchStatus]


@pytest.fixture(scope="module")
def status_of() -> Iterator[Status]:
    """Reads a batch as sent by a model's provider."""
    providers = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for model, key in zip(MODELS, ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"), strict=True):
            monkeypatch.setenv(key, "sk-test-12345678")
            providers[model] = open_batches(JudgeSettings(model=model, base_url="http://127.0.0.1:9"), settle_s=0.0)

    def read(model: str, body: dict[str, Any]) -> BatchStatus:
        provider = providers[model]
        assert isinstance(provider, LLMBatches)
        return provider._status(provider.batch_type.model_validate(json.loads(json.dumps(body))))

    yield read
    for provider in providers.values():
        assert provider is not None
        provider.close()


@each_model
def test_what_a_provider_says_of_a_batch_is_read(model: str, status_of: Status) -> None:
    states = [status_of(model, body).state for body in BATCHES[model]]
    assert states == (
        ["ended", "failed", "expired"] if model == MODELS[0] else ["ended", "failed", "failed", "expired"]
    )


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00", "", "yesterday", 5, None, {}])
def test_a_batch_created_at_no_possible_time_counts_as_new(created: Any) -> None:
    batch = MessageBatch.model_validate({"id": "b", "created_at": created})
    assert batch.created == pytest.approx(MessageBatch().created, abs=3600)


@pytest.mark.parametrize("odd", ["i" * 129, "a\nb", "\0", "\ud83d", 7, None, [], {}])
def test_an_id_that_cannot_be_stored_unchanged_is_none(odd: Any) -> None:
    assert MessageBatch.model_validate({"id": odd}).id == ""
    assert OpenAIBatch.model_validate({"id": odd, "output_file_id": odd}).output_file_id == ""


@each_model
@settings(max_examples=200)
@given(data=st.data())
def test_a_mutated_batch_has_a_state_and_a_printable_reason(model: str, status_of: Status, data: st.DataObject) -> None:
    body = data.draw(mutated(data.draw(st.sampled_from(BATCHES[model]))))
    status = status_of(model, body)
    assert status.reason.isprintable()
    assert len(status.reason) < 500
    assert max(status.total, status.succeeded, status.errored) < 2**34
    assert (status.failure is None) == (status.state != "failed")


@each_model
@settings(max_examples=300)
@given(data=st.data())
def test_a_mutated_line_of_results_is_an_answer_an_error_of_ours_or_unreadable(model: str, data: st.DataObject) -> None:
    line = json.loads(json.dumps(data.draw(mutated(data.draw(st.sampled_from(LINES[model]))))))
    read = AnthropicBatches.read_result if model == MODELS[0] else OpenAIBatches.read_result
    try:
        custom_id, outcome = read(line)
    except ValueError:
        return
    assert isinstance(custom_id, str)
    assert isinstance(outcome, Reply | JudgeError)
    if isinstance(outcome, JudgeError):
        assert str(outcome).isprintable()
        assert len(str(outcome)) < 1000
