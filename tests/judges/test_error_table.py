"""What each family of error answers means: wait, retry, this item, stop."""

from __future__ import annotations

from typing import Any

import pytest

from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.error_codes import Failure
from autointerp.judges.error_table import ROWS, row_of
from autointerp.judges.providers.openai_compatible import read_completion
from autointerp.messages import Reply, Usage

TPM = "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7071, please reduce your message size and try again."
REACHED = "Rate limit reached for model `m` on tokens per minute (TPM): Limit 6000, Used 5500, Requested 700. Please try again in 2s."
# status, codes, message, action: at least one for each row of the table
ANSWERS: list[tuple[int | None, str, str, str]] = [
    # Groq and OpenAI: one question that can never fit, and a minute that is used up
    (413, "tokens rate_limit_exceeded", TPM, "too_long"),
    (413, "insufficient_quota", "", "too_long"),
    (429, "tokens rate_limit_exceeded", TPM, "too_long"),
    (429, "rate_limit_exceeded", "Limit: 30000, Used: 12, Requested: 31000", "too_long"),
    (429, "rate_limit_exceeded", REACHED, "wait"),
    (400, "invalid_request_error", "max_tokens is too large: 8192. This model supports at most 4096 completion tokens", "stop"),
    # a prompt beyond the context, in the words of Anthropic, vLLM, llama.cpp, TGI, Bedrock, Mistral
    (400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum", "too_long"),
    (400, "BadRequestError", "This model's maximum context length is 4096 tokens", "too_long"),
    (500, "server_error", "the request exceeds the available context size", "too_long"),
    (422, "validation", "`inputs` tokens + `max_new_tokens` must be <= 4096", "too_long"),
    (400, "ValidationException", "Input is too long for requested model.", "too_long"),
    (400, "", "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "too_long"),
    (403, "", "Input token count + max_tokens parameter must be less than the context length of the model being queried", "too_long"),
    (400, "exceed_context_size_error", "", "too_long"),
    # content: the codes of OpenAI and Azure, the wording of OpenRouter, Azure, Anthropic, Moonshot
    (400, "content_filter", "", "content_rejected"),
    (400, "ResponsibleAIPolicyViolation", "", "content_rejected"),
    (400, "data_inspection_failed", "", "content_rejected"),
    (403, "", "openai/gpt-4 requires moderation on OpenAI. Your input was flagged for \"violence\".", "content_rejected"),
    (400, "", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "content_rejected"),
    (400, "invalid_request_error", "Output blocked by content filtering policy", "content_rejected"),
    (400, "", "The request was rejected because it was considered high risk", "content_rejected"),
    # the account, whatever the status
    (401, "invalid_api_key", "", "stop"),
    (401, "", "", "stop"),
    (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "stop"),
    (403, "permission_error", "", "stop"),
    (403, "", "Request blocked by the firewall's security policy", "stop"),
    (403, "sandbox_egress_restricted", "", "stop"),
    (403, "unsupported_country_region_territory", "", "stop"),
    (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", "stop"),
    (429, "insufficient_quota", "You exceeded your current quota", "stop"),
    (429, "rate_limit_error enforced_spend_limit_reached", "Spend limit", "stop"),
    (400, "invalid_request_error", "Your credit balance is too low", "stop"),
    (402, "", "Payment required", "stop"),
    (429, "", "Your team has either used all available credits or reached its monthly spending limit", "stop"),
    (403, "new_api_error", "用户额度不足", "stop"),
    # the model and its settings
    (404, "model_not_found", "", "stop"),
    (404, "", "Not Found", "stop"),
    (400, "", "qwen/nonesuch is not a valid model ID", "stop"),
    (400, "unsupported_parameter", "", "stop"),
    (400, "invalid_request_error", '"thinking.type.disabled" is not supported for this model.', "stop"),
    # rates and overload
    (429, "", "Provider returned error", "wait"),
    (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan. Please retry in 34s.", "wait"),
    (None, "overloaded_error", "", "wait"),
    (529, "", "", "wait"),
    (503, "unavailable_error", "Loading model", "wait"),
    # passing failures
    (400, "invalid_request_error", "body is not valid JSON: unexpected end of data", "retry"),
    (408, "", "", "retry"),
    (502, "", "Bad gateway", "retry"),
    (524, "", "", "retry"),
    (500, "server_error", "", "retry"),
    (None, "server_error", "Provider returned error", "retry"),
    # everything else
    (400, "invalid_request_error", "Something else is wrong", "provider_error"),
    (422, "", "", "provider_error"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "codes", "message", "action"), ANSWERS)
def test_the_meaning_of_each_error_answer(status: int | None, codes: str, message: str, action: str) -> None:
    assert row_of(status, frozenset(codes.split()), message).action == action


def test_every_row_of_the_table_is_the_meaning_of_a_known_answer() -> None:
    used = [row_of(status, frozenset(codes.split()), message) for status, codes, message, _ in ANSWERS]
    assert [row for row in ROWS if row not in used] == []


@pytest.mark.parametrize(
    ("action", "status", "kind", "reason"),
    [
        ("wait", 429, MustWait, None),
        ("retry", 500, MayRetry, None),
        ("stop", 401, MustStop, None),
        ("too_long", 413, ItemFailed, "too_long"),
        ("item", 400, ItemFailed, "provider_error"),
    ],
)
def test_each_action_is_an_error_of_its_kind(
    action: str, status: int, kind: type[JudgeError], reason: str | None
) -> None:
    error = error_codes.outcome_of(Failure("p", status, frozenset(), ""))
    assert type(error) is kind
    assert getattr(error, "reason", None) == reason


@pytest.mark.parametrize(("status", "in_doubt"), [(502, True), (504, True), (524, True), (500, False), (503, False)])
def test_a_gateway_that_lost_its_upstream_leaves_the_cost_unknown(status: int, in_doubt: bool) -> None:
    error = error_codes.outcome_of(Failure("p", status, frozenset(), ""))
    assert (error.usage == Usage(known=False)) == in_doubt


def test_a_server_error_that_says_when_to_come_back_is_a_pause() -> None:
    error = error_codes.outcome_of(Failure("p", 503, frozenset(), "", {"retry-after": "3"}))
    assert isinstance(error, MustWait)
    assert error.retry_after_s == 3.0


def completion(reason: Any, content: Any = "text", **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return {"choices": [{"finish_reason": reason, "message": message, **choice}], "usage": usage}


@pytest.mark.parametrize("reason", ["error", "abort", "ERROR", "insufficient_system_resource", "network_error"])
def test_a_reply_that_a_failure_upstream_ended_is_asked_again(reason: str) -> None:
    outcome = read_completion(completion(reason, ""), {})
    assert isinstance(outcome, MayRetry)
    assert outcome.usage == Usage(10, 2)


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("STOP", "complete"), ("eos_token", "complete"), (None, "complete"), ("MAX_TOKENS", "truncated"),
     ("model_length", "truncated"), ("SAFETY", "refusal"), ("sensitive", "refusal")],
)  # fmt: skip
def test_the_reasons_of_all_servers_are_known(reason: str | None, stop: str) -> None:
    outcome = read_completion(completion(reason), {})
    assert isinstance(outcome, Reply)
    assert outcome.stop == stop


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"code": 429, "message": "Upstream is busy"}}, MustWait),
        ({"error": {"code": "429", "message": "Upstream is busy"}}, MustWait),
        ({"error": "model crashed"}, MayRetry),
        ({"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 400}, ItemFailed),
        ({"error": {"code": 403, "message": "Your input was flagged"}}, ItemFailed),
        ({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "prompt is too long"}}}, ItemFailed),
        (completion("error", "", error={"code": 502, "message": "Upstream died"}), MayRetry),
        (completion("error", "", error={"code": 402, "message": "Insufficient credits"}), MustStop),
        (completion("error", "", error={"code": 403, "message": "Your input was flagged"}), ItemFailed),
    ],
)  # fmt: skip
def test_an_error_in_the_body_of_a_200_is_read_wherever_it_stands(body: dict[str, Any], kind: type[JudgeError]) -> None:
    assert type(read_completion(body, {})) is kind


@pytest.mark.parametrize("reasons", [["violence"], [], None, "violence", [{"a": 1}]])
def test_an_input_that_openrouters_moderation_flagged_is_the_items_failure_and_not_the_accounts(reasons: Any) -> None:
    metadata = {"reasons": reasons, "flagged_input": "cats...", "provider_name": "OpenAI", "model_slug": "openai/m"}
    error = {"code": 403, "message": "Forbidden", "metadata": metadata}
    failure = error_codes.failure_in_body("openai-compatible", {"error": error}, {})
    assert failure is not None
    outcome = error_codes.outcome_of(failure)
    assert isinstance(outcome, ItemFailed)
    assert outcome.reason == "content_rejected"
    assert "flagged for" in str(outcome)
    without = error_codes.failure_in_body("openai-compatible", {"error": error | {"metadata": {}}}, {})
    assert without is not None
    assert isinstance(error_codes.outcome_of(without), MustStop)
