"""How real Chat Completions servers differ: what they refuse, in whose words, and what their replies look like.

The texts are those in the servers' own issue trackers and documentation; `autointerp/judges/refusals.py` lists them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Refusal = tuple[int, Any]
_SCHEMA_IN_WORDS = re.compile(r"JSON schema:\n(\{.*\})", re.DOTALL)


def _nothing(_body: Json, _number: int) -> Refusal | None:
    return None


def _as_it_is(_body: Json, reply: Json) -> Json:
    return reply


@dataclass(frozen=True)
class Manner:
    """The behaviour of one server. `refuse` gets a request and its number, `shape` a request and the usual reply to it."""

    refuse: Callable[[Json, int], Refusal | None] = _nothing
    shape: Callable[[Json, Json], Json] = _as_it_is
    pages: Mapping[str, Any] = field(
        default_factory=lambda: {"/v1/models": {"data": [{"id": "m", "max_model_len": 8192}]}}
    )
    """What it answers to a GET."""


def schema_of(body: Json) -> Json:
    """The reply's schema in a request, in its field or in words; empty if plain text is requested."""
    asked = body.get("response_format") or {}
    if "json_schema" in asked:
        return dict(asked["json_schema"]["schema"])
    named = _SCHEMA_IN_WORDS.search(body["messages"][0]["content"])
    return dict(json.JSONDecoder().raw_decode(named[1])[0]) if named else {}


def _has_system(body: Json) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


def _asks(body: Json) -> str:
    return str((body.get("response_format") or {}).get("type", ""))


def _text(reply: Json) -> str:
    return str(reply["choices"][0]["message"]["content"])


def _with(reply: Json, **message: Any) -> Json:
    reply["choices"][0]["message"] |= message
    return reply


def _openai_error(message: str, code: str | None = None) -> Refusal:
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _vllm_gemma(body: Json, _number: int) -> Refusal | None:
    if _has_system(body):
        message = "System role not supported"
        return 400, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}
    return None


def _vllm_thoughts(body: Json, reply: Json) -> Json:
    """Qwen3 without a reasoning parser: thoughts in the reply, unless the template is told to leave them out."""
    thinks = (body.get("chat_template_kwargs") or {}).get("enable_thinking", True)
    thought = "I look at the mark." if thinks else ""
    return _with(reply, content=f"<think>\n{thought}\n</think>\n\n{_text(reply)}")


def _vllm_parser(_body: Json, reply: Json) -> Json:
    return _with(reply, reasoning="I look at the mark.", content=f"\n\n{_text(reply)}")


def _llama_cpp(body: Json, _number: int) -> Refusal | None:
    if _has_system(body):
        message = "Value is not callable: jinja template: System role not supported"
        return 500, {"error": {"code": 500, "message": message, "type": "server_error"}}
    return None


def _ollama(_body: Json, reply: Json) -> Json:
    """A context of 256 tokens, to which longer prompts are cut."""
    reply["usage"]["prompt_tokens"] = min(256, reply["usage"]["prompt_tokens"])
    reply["usage"].pop("prompt_tokens_details", None)
    return reply | {"system_fingerprint": "fp_ollama"}


def _openrouter(body: Json, number: int) -> Refusal | None:
    if "chat_template_kwargs" in body:
        return _openai_error("Unrecognized key: chat_template_kwargs")
    if number == 0:
        return 200, {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "upstream"}}}
    return None


def _deepseek(body: Json, _number: int) -> Refusal | None:
    if _asks(body) == "json_schema":
        return _openai_error("This response_format type is unavailable now", "invalid_request_error")
    words = " ".join(message["content"] for message in body["messages"])
    if _asks(body) == "json_object" and "json" not in words.casefold():
        return _openai_error(
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'."
        )
    return None


def _deepseek_reply(body: Json, reply: Json) -> Json:
    thinks = (body.get("thinking") or {}).get("type") != "disabled"
    return _with(reply, reasoning_content="I look at the mark.") if thinks else reply


def _gemini(body: Json, _number: int) -> Refusal | None:
    message = ""
    if "chat_template_kwargs" in body:
        message = 'Invalid JSON payload received. Unknown name "chat_template_kwargs": Cannot find field.'
    elif _has_system(body) and "gemma" in body["model"]:
        message = f"Developer instruction is not enabled for models/{body['model']}"
    error = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    return (400, [error]) if message else None


def _groq(body: Json, _number: int) -> Refusal | None:
    if _asks(body) == "json_schema":
        return _openai_error("This model does not support response format `json_schema`. See supported models at docs.")
    return None


def _azure(body: Json, _number: int) -> Refusal | None:
    if "max_tokens" in body:
        return _openai_error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "unsupported_parameter",
        )
    if body.get("temperature", 1) != 1:
        return _openai_error(
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
            "unsupported_value",
        )
    return None


def _together(_body: Json, number: int) -> Refusal | None:
    """Overloaded at first (cline #440)."""
    error = {
        "message": "The server is overloaded or not ready yet.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    return (503, {"id": "nz1", "error": error}) if number == 0 else None


def _together_reply(_body: Json, reply: Json) -> Json:
    """Llama models end with `eos` (openai-dotnet #267, ragas #1548)."""
    reply["choices"][0]["finish_reason"] = "eos"
    reply["usage"]["prompt_tokens_details"] = None
    return reply | {"prompt": [], "system_fingerprint": None}


def moderated(word: str, message: str = "") -> Manner:
    """OpenRouter with a model that is moderated: an input with the word is refused, as openrouter.ai/docs/errors describes it."""
    message = (
        message
        or 'openai/m requires moderation on OpenAI. Your input was flagged for "violence". No credits were charged.'
    )

    def refuse(body: Json, number: int) -> Refusal | None:
        if any(word in turn["content"] for turn in body["messages"] if turn["role"] == "user"):
            metadata = {
                "reasons": ["violence"],
                "flagged_input": word,
                "provider_name": "OpenAI",
                "model_slug": "openai/m",
            }
            return 403, {"error": {"code": 403, "message": message, "metadata": metadata}, "user_id": "user_1"}
        return _openrouter(body, number)

    return Manner(refuse)


MANNERS = {
    "vllm": Manner(_vllm_gemma),
    "vllm thinking": Manner(shape=_vllm_thoughts),
    "vllm with a reasoning parser": Manner(shape=_vllm_parser),
    "llama.cpp": Manner(_llama_cpp),
    "ollama": Manner(shape=_ollama),
    "openrouter": Manner(_openrouter),
    "deepseek": Manner(_deepseek, _deepseek_reply),
    "gemini": Manner(_gemini),
    "groq": Manner(_groq),
    "together": Manner(_together, _together_reply),
    "azure": Manner(_azure),
}
