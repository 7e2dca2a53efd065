"""Claude through the Messages API: one attempt a call, structured output, the system prompt marked for caching.

Written against anthropic 2.11 (API version 2026-10-21). That API takes no temperature; what varies between repeats is
the model's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anthropic
import httpx2
from anthropic import transform_schema

from autointerp.errors import UsageError
from autointerp.judges import error_codes, http
from autointerp.judges.base import ItemFailed, JudgeError, MustStop
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply, Usage
from autointerp.spec.sections import Judge as JudgeSettings

PROVIDER = "anthropic"
KEY = "ANTHROPIC_API_KEY"

# platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, "Thinking support, defaults, and rejected
# configurations by model"
ALWAYS_THINKING = ("claude-opus-5-5", "claude-fable-", "claude-mythos-")
BETWEEN_TOOLS = ("claude-sonnet-5-5",)
BUDGETED_THINKING = ("claude-3", "claude-opus-4-1", "claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
LEAST_BUDGET = 1024

_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    "end_turn": "complete",
    "stop_sequence": "complete",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refusal",
}


class AnthropicJudge:
    """A Claude model. One client, shared by all threads; closing the judge closes it."""

    is_llm = True

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key and for settings that the model does not take."""
        self._model = settings.model.partition("/")[2]
        self._settings = settings
        self._client = open_client(settings)

    @property
    def name(self) -> str:
        return self._settings.model

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": self._model,
            "api": f"messages/{self._client.default_headers['anthropic-version']}",
            "thinking": self._settings.thinking,
        }

    def ask(self, prompt: Prompt) -> Reply:
        body = self._send(self._client.messages.with_streaming_response.create, request_of(self._settings, prompt))
        outcome = body if isinstance(body, JudgeError) else read_message(*body)
        if isinstance(outcome, JudgeError):
            raise outcome
        return outcome

    def count_tokens(self, prompt: Prompt) -> int | None:
        request = request_of(self._settings, prompt)
        del request["max_tokens"]
        body = self._send(self._client.messages.with_streaming_response.count_tokens, request)
        if isinstance(body, JudgeError):
            raise body
        return http.count(body[0], "input_tokens") or None

    def close(self) -> None:
        self._client.close()

    def _send(
        self, method: Callable[..., Any], request: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]] | JudgeError:
        """Body and headers of one request."""
        answer = exchange(method, request, self._settings.timeout_s)
        return error_codes.outcome_of(answer) if isinstance(answer, error_codes.Failure) else answer


def open_client(settings: JudgeSettings) -> Any:
    """The SDK's client without retries. Raises `UsageError` for a missing key and for settings the model does not take."""
    _check(settings.model.partition("/")[2], settings)
    if not (os.environ.get(KEY) or os.environ.get("ANTHROPIC_AUTH_TOKEN")):
        raise UsageError(f"judge.model = {settings.model} needs a key: set {KEY} in the environment")
    return anthropic.Anthropic(base_url=settings.base_url, max_retries=0, timeout=http.timeout(settings.timeout_s))


def exchange(
    method: Callable[..., Any], request: Mapping[str, Any], timeout_s: float
) -> tuple[dict[str, Any], dict[str, str]] | error_codes.Failure | JudgeError:
    """Body and headers of one request; `method` is one of the SDK's that stream their response."""
    deadline = time.monotonic() + timeout_s
    try:
        with method(**request, timeout=http.timeout(timeout_s)) as response:
            headers = dict(response.headers)
            body = http.read(response.iter_bytes(), deadline)
    except anthropic.APIStatusError as error:
        return failure_of(error)
    except (anthropic.APIConnectionError, httpx2.HTTPError, http.DeadlinePassed) as error:
        return http.connection_outcome(PROVIDER, error, timeout_s)
    except anthropic.AnthropicError as error:
        return MustStop(f"{PROVIDER} cannot be called: {error_codes.tidy(str(error))}: check {KEY}")
    except UnicodeError:
        return ItemFailed("the prompt holds characters that cannot be sent as UTF-8")
    parsed = http.parse(PROVIDER, body)
    return parsed if isinstance(parsed, JudgeError) else (parsed, headers)


def request_of(settings: JudgeSettings, prompt: Prompt, cache_for: Literal["5m", "1h"] = "5m") -> dict[str, Any]:
    """What asking sends, alone or within a batch. The system prompt is kept in the provider's cache for `cache_for`."""
    model = settings.model.partition("/")[2]
    cache = {"type": "ephemeral"} if cache_for == "5m" else {"type": "ephemeral", "ttl": cache_for}
    return {
        "model": model,
        "max_tokens": prompt.max_tokens,
        "system": [{"type": "text", "text": prompt.system, "cache_control": cache}],
        "messages": [{"role": "user", "content": prompt.user}],
        "output_config": {"format": {"type": "json_schema", "schema": transform_schema(dict(prompt.schema))}},
        "thinking": thinking(model, settings.thinking, prompt.max_tokens),
    }


def thinking(model: str, wanted: bool, max_tokens: int) -> dict[str, Any]:
    """The request's `thinking`, in the form that the model takes; a budget leaves half of `max_tokens` to the reply."""
    if not wanted:
        return {"type": "between_tools" if model.startswith(BETWEEN_TOOLS) else "disabled"}
    if model.startswith(BUDGETED_THINKING):
        return {"type": "enabled", "budget_tokens": max(LEAST_BUDGET, max_tokens // 2)}
    return {"type": "adaptive"}


def read_message(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Messages body as a reply. Thinking blocks are left out of the text; their tokens are in the usage."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    usage = read_usage(body.get("usage") or {})
    content = body.get("content")
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    text = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    reason = body.get("stop_reason")
    stop = _STOPS.get(str(reason))
    if stop is None:
        return ItemFailed(f"{PROVIDER} stopped for an unknown reason: {error_codes.tidy(str(reason))}", usage=usage)
    if stop == "refusal" and isinstance(details := body.get("stop_details"), Mapping):
        text = text or f"{details.get('category') or 'refused'}: {details.get('explanation') or 'no explanation'}"
    return Reply(text, stop, usage, str(body.get("model", "")), headers.get("request-id"), rate_limits(headers))


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Anthropic's counts, disjoint already: `input_tokens` excludes what the cache held or took."""
    return Usage(
        input_tokens=http.count(usage, "input_tokens"),
        output_tokens=http.count(usage, "output_tokens"),
        cache_write_tokens=http.count(usage, "cache_creation_input_tokens"),
        cache_read_tokens=http.count(usage, "cache_read_input_tokens"),
    )


def _check(model: str, settings: JudgeSettings) -> None:
    if settings.temperature is not None:
        raise UsageError(f"judge.temperature = {settings.temperature:g}: Claude's API takes no temperature, remove it")
    if not settings.thinking and model.startswith(ALWAYS_THINKING):
        raise UsageError(
            f"judge.thinking = false, but {model} always thinks: set judge.thinking = true and"
            " judge.max_output_tokens = 8192, or name another model"
        )
    if settings.thinking and model.startswith(BUDGETED_THINKING) and settings.max_output_tokens < 2 * LEAST_BUDGET:
        raise UsageError(
            f"judge.max_output_tokens = {settings.max_output_tokens} leaves no room to think: raise it to 8192"
        )


def failure_of(error: Any) -> error_codes.Failure:
    """The SDK's status error without the SDK."""
    body = error.body.get("error") if isinstance(error.body, Mapping) else None
    message = body.get("message") if isinstance(body, Mapping) else str(error.body or "")
    return error_codes.Failure(
        PROVIDER, error.status_code, error_codes.codes_of(body), str(message), dict(error.response.headers)
    )
