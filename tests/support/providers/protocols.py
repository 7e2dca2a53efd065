"""The wire formats of the test server: reading requests, writing replies and errors."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, Protocol

from .manners import Manner, schema_of

Json = dict[str, Any]


class Counted(Protocol):
    """The token counts from which a reply's usage is made."""

    number: int
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int


# fault: status, Anthropic's type and error_code, OpenAI's type and code, message
ERRORS: dict[str, tuple[int, str, str | None, str, str | None, str]] = {
    "429": (429, "rate_limit_error", None, "requests", "rate_limit_exceeded", "Rate limit reached"),
    "500": (500, "api_error", None, "server_error", None, "Internal server error"),
    "503": (503, "api_error", None, "server_error", None, "Service unavailable"),
    "overloaded": (529, "overloaded_error", None, "service_unavailable_error", "slow_down", "Overloaded"),
    "ramp_limit": (429, "rate_limit_error", "ramp_limit_exceeded", "requests", "rate_limit_exceeded", "Slow your growth"),
    "insufficient_quota": (429, "billing_error", None, "insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
    "spend_limit": (429, "rate_limit_error", "enforced_spend_limit_reached", "billing", "billing_hard_limit_reached", "Spend limit"),
    "contract_limit": (429, "rate_limit_error", "contract_spend_limit_reached", "billing", "billing_not_active", "Contract limit"),
    "on_hold": (400, "invalid_request_error", "organization_on_hold", "invalid_request_error", "account_deactivated", "On hold"),
    "401": (401, "authentication_error", None, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-test-12345678"),
    "402": (402, "billing_error", None, "billing", None, "Payment required"),
    "403": (403, "permission_error", None, "invalid_request_error", None, "Not allowed"),
    "404_model": (404, "not_found_error", None, "invalid_request_error", "model_not_found", "model: no such model"),
    "unsupported": (
        400, "invalid_request_error", None, "invalid_request_error", "unsupported_parameter",
        '"thinking.type.disabled" is not supported for this model.',
    ),
    "content_policy": (
        400, "invalid_request_error", "content_policy_violation", "invalid_request_error", "content_policy_violation", "Rejected",
    ),
    "too_long": (
        400, "invalid_request_error", None, "invalid_request_error", "context_length_exceeded",
        "prompt is too long: 300000 tokens > 200000 maximum",
    ),
    "413": (413, "request_too_large", None, "invalid_request_error", None, "Request too large"),
    "400": (400, "invalid_request_error", None, "invalid_request_error", None, "Something else is wrong"),
}  # fmt: skip
_KEYS = {
    "anthropic": {"model", "max_tokens", "system", "messages", "output_config", "thinking"},
    "responses": {
        "model", "instructions", "input", "text", "reasoning", "max_output_tokens", "store", "temperature", "include", "top_logprobs",
        "prompt_cache_key", "prompt_cache_options",
    },
    "chat": {"model", "messages", "max_tokens", "temperature", "response_format", "logprobs", "top_logprobs"},
}  # fmt: skip
_BY_BREAKPOINT = re.compile(r"gpt-(5\.[6-9]|[6-9])")
_PIECE = re.compile(r"\s?[^\W\d_]+|\s?\d+|\s+|.", re.DOTALL)


@lru_cache(maxsize=1024)
def tokens(text: str) -> int:
    """Tokens of a text: about one per four letters of English, and one per character of scripts without spaces."""
    return sum(max(1, -(-len(piece.strip()) // 6)) if piece.isascii() else len(piece) for piece in _PIECE.findall(text))


def read_request(protocol: str, body: Json) -> tuple[str, str, Json]:
    """System prompt, question and schema of a request; the schema is empty if plain text is requested."""
    if protocol == "anthropic":
        system = "".join(block["text"] for block in body["system"])
        return system, body["messages"][0]["content"], body["output_config"]["format"]["schema"]
    if protocol == "responses":
        schema = body["text"]["format"]["schema"] if "text" in body else {}
        if "instructions" in body:
            return body["instructions"], body["input"], schema
        return body["input"][0]["content"][0]["text"], body["input"][1]["content"], schema
    *system, user = body["messages"]
    return system[0]["content"] if system else "", user["content"], schema_of(body)


def cacheable(protocol: str, body: Json, system: str, user: str) -> str:
    """The part of a request that a later one may read from the cache.

    This is the instructions, except for OpenAI's models since GPT-5.6: there it is the part up to a breakpoint, which by default is the
    whole request.
    """
    if protocol != "responses" or not _BY_BREAKPOINT.match(str(body["model"])):
        return system
    if any("prompt_cache_breakpoint" in block for block in _blocks(body)):
        return system
    return "" if (body.get("prompt_cache_options") or {}).get("mode") == "explicit" else system + user


def _blocks(body: Json) -> list[Json]:
    messages = body["input"] if isinstance(body.get("input"), list) else []
    return [block for message in messages if isinstance(message["content"], list) for block in message["content"]]


def logprobs(text: str, probabilities: Json) -> list[Json]:
    """The tokens of a reply of one token, in OpenAI's form."""
    top = [
        {"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in probabilities.items()
    ]
    own = next((entry for entry in top if entry["token"] == text), {"token": text, "logprob": -20.0, "bytes": []})
    return [{**own, "top_logprobs": top}]


def count_input(system: str, user: str, schema: Json) -> int:
    return tokens(system) + tokens(user) + tokens(json.dumps(schema)) + 12


def complaint(protocol: str, body: Json, authorization: str | None, manner: Manner | None = None) -> str | None:
    """Why a strict provider would refuse a request: `key` if it is missing, or an unknown parameter. None if it would not."""
    if not (authorization or "").startswith("Bearer "):
        return "key"
    if manner is not None:
        return None
    unknown = sorted(body.keys() - _KEYS[protocol])
    return f"unknown parameter {unknown[0]}" if unknown else None


def error_body(protocol: str, fault: str, message: str | None = None) -> Json:
    _, kind, detail, openai_kind, code, text = ERRORS[fault]
    if protocol == "anthropic":
        error: Json = {"type": kind, "message": message or text}
        return {"type": "error", "error": error | ({"details": {"error_code": detail}} if detail else {})}
    return {"error": {"type": openai_kind, "code": code, "message": message or text, "param": None}}


def overloaded_body(protocol: str) -> Json:
    if protocol == "anthropic":
        return error_body("anthropic", "overloaded")
    if protocol == "responses":
        return {"object": "response", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Busy"}}
    return {"error": {"code": 429, "message": "Upstream is busy"}}


def spoil(fault: str | None, text: str) -> str:
    if fault == "truncated":
        return text[: len(text) // 2]
    if fault == "invalid_json":
        return f"I would say: {text[:-1]}"
    if fault == "out_of_range":
        return json.dumps({**json.loads(text), "grade": 7})
    return "I cannot help with that." if fault == "refusal" else text


def _message(model: str, text: str, fault: str | None, entry: Counted, _tokens: list[Json] | None) -> Json:
    stop = {"truncated": "max_tokens", "refusal": "refusal"}.get(str(fault), "end_turn")
    usage = {
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "cache_creation_input_tokens": entry.cache_write_tokens,
        "cache_read_input_tokens": entry.cache_read_tokens,
    }
    content = [] if fault == "refusal" else [{"type": "text", "text": text}]
    details = {"type": "refusal", "category": "bio", "explanation": text} if fault == "refusal" else None
    return {
        "id": f"msg_{entry.number}", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop, "stop_details": details, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _openai_usage(entry: Counted, names: tuple[str, str]) -> Json:
    total = entry.input_tokens + entry.cache_write_tokens + entry.cache_read_tokens
    details = {"cached_tokens": entry.cache_read_tokens, "cache_write_tokens": entry.cache_write_tokens}
    counts = {names[0]: total, names[1]: entry.output_tokens, "total_tokens": total + entry.output_tokens}
    return {**counts, f"{names[0]}_details": details}


def _response(model: str, text: str, fault: str | None, entry: Counted, tokens: list[Json] | None) -> Json:
    refused = {"type": "refusal", "refusal": text}
    said = {"type": "output_text", "text": text, "annotations": []} | ({"logprobs": tokens} if tokens else {})
    part = refused if fault == "refusal" else said
    cut = fault == "truncated"
    return {
        "id": f"resp_{entry.number}", "object": "response", "created_at": 0, "model": model, "error": None,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}],
        "usage": _openai_usage(entry, ("input_tokens", "output_tokens")),
    }  # fmt: skip


def _completion(model: str, text: str, fault: str | None, entry: Counted, tokens: list[Json] | None) -> Json:
    refused = fault == "refusal"
    message = {"role": "assistant", "content": None if refused else text, "refusal": text if refused else None}
    reason = "length" if tokens or fault == "truncated" else "stop"
    logprobs = {"logprobs": {"content": tokens}} if tokens else {}
    return {
        "id": f"chatcmpl_{entry.number}", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "finish_reason": reason, "message": message, **logprobs}],
        "usage": _openai_usage(entry, ("prompt_tokens", "completion_tokens")),
    }  # fmt: skip


BODIES = {"anthropic": _message, "responses": _response, "chat": _completion}
