"""Claude through the Messages API: structured output, and a system prompt marked for caching.

Written against anthropic 2.11 (API version 2026-10-21). That API takes no temperature: repeats differ by the model's own sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import ModuleType
from typing import Any, ClassVar, Literal

import anthropic
from anthropic import transform_schema

from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MustStop
from autointerp.judges.providers.keys import key_of
from autointerp.judges.providers.llm_judge import LLMJudge, day_of
from autointerp.judges.providers.reply_gate import MessageBody, joined, name_of
from autointerp.judges.providers.sdk_client import SdkClient, open_sdk
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, model_of

PROVIDER = "anthropic"

# How each family thinks: platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, "Thinking support, defaults, and
# rejected configurations by model".
ALWAYS_THINKING = ("claude-opus-5-5", "claude-fable-", "claude-mythos-")
BETWEEN_TOOLS = ("claude-sonnet-5-5",)
BUDGETED_THINKING = ("claude-3", "claude-opus-4-1", "claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
MIN_THINKING_TOKENS = 1024
"""The smallest `budget_tokens` that the API accepts."""

_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refusal",
}


class AnthropicClient(SdkClient):
    """The anthropic SDK's client."""

    errors: ClassVar[ModuleType] = anthropic
    base_error = anthropic.AnthropicError

    @property
    def api_version(self) -> str:
        """The version of the API that the SDK asks for, a date."""
        return str(self._sdk.default_headers["anthropic-version"])

    def _error_object(self, body: Any) -> Mapping[str, Any] | None:
        inner = body.get("error") if isinstance(body, Mapping) else None
        return inner if isinstance(inner, Mapping) else None


class AnthropicJudge(LLMJudge):
    """A Claude model."""

    ask_method = "messages.create"
    count_method: ClassVar[str | None] = "messages.count_tokens"

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key and for settings that the model does not accept."""
        self._client: AnthropicClient
        super().__init__(settings, open_client(settings))

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": self._model,
            "api": f"messages/{self._client.api_version}",
            "thinking": self._settings.thinking,
        }

    def retirement_date(self) -> date | None:
        info = self._fetch("models.retrieve", model_id=self._model)
        day = day_of(info.get("retires_at"))
        if info.get("lifecycle") == "retired":
            when = "" if day is None else f" since {day}"
            raise MustStop(f"{self._model} is retired{when}: name another model in judge.model")
        return day

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        return "Claude's API gives no probabilities"

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return request_of(self._settings, prompt)

    def _count_request(self, prompt: Prompt) -> dict[str, Any]:
        request = request_of(self._settings, prompt)
        del request["max_tokens"]
        return request

    def _read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
        return read_message(body, headers)


def open_client(settings: JudgeSettings) -> AnthropicClient:
    """The SDK's client without retries. Raises `UsageError` for a missing key and for settings that the model does not accept."""
    check(settings)
    key, variable = key_of(settings)
    # The two kinds of key go into different headers. With one given, the SDK looks for none in the environment.
    kind = "auth_token" if variable.endswith("AUTH_TOKEN") else "api_key"
    sdk = open_sdk(anthropic.Anthropic, anthropic.DefaultHttpxClient, settings, **{kind: key})
    return AnthropicClient(PROVIDERS[PROVIDER], sdk, settings.timeout_s, has_key=bool(variable))


def request_of(settings: JudgeSettings, prompt: Prompt, cache_for: Literal["5m", "1h"] = "5m") -> dict[str, Any]:
    """The Messages request of a prompt, alone or within a batch. The provider caches its system prompt for `cache_for`."""
    model = model_of(settings.model)
    cache = {"type": "ephemeral"} if cache_for == "5m" else {"type": "ephemeral", "ttl": cache_for}
    return {
        "model": model,
        "max_tokens": prompt.max_tokens,
        "system": [{"type": "text", "text": prompt.system, "cache_control": cache}],
        "messages": [{"role": "user", "content": prompt.user}],
        "output_config": {"format": {"type": "json_schema", "schema": transform_schema(dict(prompt.schema))}},
        "thinking": thinking(model, settings.thinking, prompt.max_tokens),
    }


def thinking(model: str, enabled: bool, max_tokens: int) -> dict[str, Any]:
    """The request's `thinking`, in the form that the model accepts. A thinking budget leaves half of `max_tokens` to the reply."""
    if not enabled:
        return {"type": "between_tools" if model.startswith(BETWEEN_TOOLS) else "disabled"}
    if model.startswith(BUDGETED_THINKING):
        return {"type": "enabled", "budget_tokens": max(MIN_THINKING_TOKENS, max_tokens // 2)}
    return {"type": "adaptive"}


def read_message(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Messages body as a reply. Its text excludes thinking blocks; its usage includes their tokens."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    reply = MessageBody.model_validate(body)
    usage, text = reply.usage.usage(), joined(reply.content, "text")
    stop = _STOPS.get(reply.stop_reason)
    if stop is None:
        return ItemFailed(f"{PROVIDER} stopped for an unknown reason: {reply.stop_reason}", usage=usage)
    if stop == "refusal" and not text:
        details = reply.stop_details
        text = f"{details.category or 'refused'}: {details.explanation or 'no explanation'}"
    request_id = name_of(headers.get("request-id")) or None
    return Reply(text, stop, usage, reply.model, request_id, rate_limits(headers))


def check(settings: JudgeSettings) -> None:
    """Raise `UsageError` for settings that the model does not accept."""
    model = model_of(settings.model)
    if settings.temperature is not None:
        raise UsageError(f"judge.temperature = {settings.temperature:g}: Claude's API takes no temperature, remove it")
    if not settings.thinking and model.startswith(ALWAYS_THINKING):
        raise UsageError(
            f"judge.thinking = false, but {model} always thinks: set judge.thinking = true and"
            " judge.max_output_tokens = 8192, or name another model"
        )
    if (
        settings.thinking
        and model.startswith(BUDGETED_THINKING)
        and settings.max_output_tokens < 2 * MIN_THINKING_TOKENS
    ):
        raise UsageError(
            f"judge.max_output_tokens = {settings.max_output_tokens} leaves no room to think: raise it to 8192"
        )
