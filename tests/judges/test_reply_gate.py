"""Every field of a reply is bounded, cleaned and typed; a reply of any content ends in an answer or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.providers.mutations import PROTOCOLS, mutated_bodies, valid_body

from autointerp.judges.base import JudgeError
from autointerp.judges.providers import http
from autointerp.judges.providers.anthropic import read_message
from autointerp.judges.providers.anthropic_batches import AnthropicBatches
from autointerp.judges.providers.openai import read_response
from autointerp.judges.providers.openai_batches import OpenAIBatches
from autointerp.judges.providers.openai_compatible import read_completion
from autointerp.judges.providers.reply_gate import MAX_COUNT, MAX_NAME
from autointerp.messages import Reply, Usage

Body = dict[str, Any]
Read = Callable[[Mapping[str, Any], Mapping[str, str]], Reply | JudgeError]
READ: dict[str, Read] = {"anthropic": read_message, "responses": read_response, "chat": read_completion}
USAGE_FIELDS = {
    "anthropic": ("input_tokens", "output_tokens", "cache_read_input_tokens"),
    "responses": ("input_tokens", "output_tokens"),
    "chat": ("prompt_tokens", "completion_tokens"),
}
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def read(protocol: str, body: Body, headers: Mapping[str, str] | None = None) -> Reply | JudgeError:
    """The outcome of a body that was sent as JSON."""
    parsed = http.parse(protocol, json.dumps(body).encode())
    return parsed if isinstance(parsed, JudgeError) else READ[protocol](parsed, headers or {})


def reply(protocol: str, body: Body) -> Reply:
    outcome = read(protocol, body)
    assert isinstance(outcome, Reply)
    return outcome


def check(outcome: Reply | JudgeError) -> None:
    """Everything in an outcome can be stored and printed."""
    usage = outcome.usage or Usage()
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_write_tokens, usage.cache_read_tokens)
    assert all(type(count) is int and 0 <= count <= MAX_COUNT for count in counts)
    assert usage.known or not any(counts)
    if isinstance(outcome, JudgeError):
        assert str(outcome).isprintable()
        assert len(str(outcome)) < 1000
        return
    for text in (outcome.text, *(outcome.probabilities or ())):
        assert "\0" not in text
        text.encode()
    for name in (outcome.served_model, outcome.request_id or ""):
        assert name.isprintable()
        assert len(name) <= MAX_NAME
    assert all(p >= 0.0 for p in (outcome.probabilities or {}).values())


@each_protocol
def test_a_valid_reply_passes_unchanged(protocol: str) -> None:
    passed = reply(protocol, valid_body(protocol))
    assert (passed.text, passed.stop, passed.served_model) == ('{"grade": 2}', "complete", "the-model")
    assert passed.usage == Usage(120, 15, 30, 50)


@each_protocol
@pytest.mark.parametrize(
    "count", [None, -1, "12", "", 1.5, True, float("nan"), float("inf"), 3_000_000_000, 2**64, 10**400, [], {}]
)
def test_a_count_that_is_none_makes_the_usage_unknown(protocol: str, count: Any) -> None:
    for field in USAGE_FIELDS[protocol]:
        body = valid_body(protocol)
        body["usage"][field] = count
        expected = field == "cache_read_input_tokens" and count is None  # null where a provider may leave it out
        assert reply(protocol, body).usage.known == expected


@each_protocol
@pytest.mark.parametrize("usage", [None, {}, [], "many", {"total_tokens": 3}, "missing"])
def test_a_usage_without_counts_is_unknown(protocol: str, usage: Any) -> None:
    body = valid_body(protocol) | {"usage": usage}
    if usage == "missing":
        del body["usage"]
    assert reply(protocol, body).usage == Usage(known=False)


@each_protocol
def test_a_usage_of_nothing_is_unknown_because_every_question_has_tokens(protocol: str) -> None:
    body = valid_body(protocol)
    body["usage"] = dict.fromkeys(USAGE_FIELDS[protocol], 0)
    assert not reply(protocol, body).usage.known


@pytest.mark.parametrize("protocol", ["responses", "chat"])
def test_more_cached_tokens_than_tokens_are_an_unknown_usage(protocol: str) -> None:
    body = valid_body(protocol)
    body["usage"][f"{USAGE_FIELDS[protocol][0]}_details"]["cached_tokens"] = 1000
    assert not reply(protocol, body).usage.known


@each_protocol
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("m\ud83d\0", "m\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        ("m" * 400, "m" * 127 + "…"),
        (None, ""),
        ({}, ""),
        (7, "7"),
        ("a\nb\x1b", "a?b?"),
    ],
)
def test_the_served_model_is_one_short_printable_line(protocol: str, sent: Any, kept: str) -> None:
    assert reply(protocol, valid_body(protocol) | {"model": sent}).served_model == kept


@each_protocol
def test_a_request_id_in_the_headers_is_cut(protocol: str) -> None:
    headers = {"request-id": "r" * 5000, "x-request-id": "r" * 5000}
    outcome = read(protocol, valid_body(protocol), headers)
    assert isinstance(outcome, Reply)
    assert len(outcome.request_id or "") == MAX_NAME


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": '{"grade": 2}'}],
        [{"type": "text", "text": '{"grade"'}, {"type": "text", "text": ": 2}"}],
        ['{"grade": 2}'],
        [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": '{"grade": 2}'}, None, 7],
    ],
)
def test_a_message_whose_content_is_a_list_of_parts_is_a_valid_reply(content: Any) -> None:
    body = valid_body("chat")
    body["choices"][0]["message"]["content"] = content
    assert reply("chat", body).text == '{"grade": 2}'


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("-inf"), float("nan"), "0", None, True])
def test_log_probabilities_of_any_size_are_read(value: Any) -> None:
    body = valid_body("chat")
    body["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] = value
    check(reply("chat", body))


def _fuzz(protocol: str, body: Body, headers: Mapping[str, str]) -> None:
    alone = read(protocol, body, headers)
    check(alone)
    sent = json.loads(json.dumps(body))
    if protocol == "anthropic":
        _, batched = AnthropicBatches.read_result({"custom_id": "c", "result": {"type": "succeeded", "message": sent}})
    elif protocol == "responses":
        _, batched = OpenAIBatches.read_result({"custom_id": "c", "response": {"status_code": 200, "body": sent}})
    else:
        return
    check(batched)
    assert isinstance(batched, Reply) == isinstance(alone, Reply)


headers_ = st.dictionaries(
    st.sampled_from(("request-id", "x-request-id", "retry-after", "x-ratelimit-limit-requests", "date")),
    st.sampled_from(("", "1", "-1", "9" * 400, "Thu, 01 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 +9999999"))
    | st.text(max_size=10),
)


@each_protocol
@given(data=st.data())
@settings(max_examples=300)
def test_a_mutated_reply_is_an_answer_or_an_error_of_ours(protocol: str, data: st.DataObject) -> None:
    _fuzz(protocol, data.draw(mutated_bodies(protocol)), data.draw(headers_))


@pytest.mark.slow
@each_protocol
@given(data=st.data())
@settings(max_examples=10_000)
def test_ten_thousand_mutated_replies_are_answers_or_errors_of_ours(protocol: str, data: st.DataObject) -> None:
    _fuzz(protocol, data.draw(mutated_bodies(protocol)), data.draw(headers_))
