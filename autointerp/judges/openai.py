"""GPT models through OpenAI's Responses API: one attempt a call, strict structured output, nothing stored.

Written against openai 3.52. The counts of cached tokens are made disjoint here. Up to GPT-5.5 OpenAI caches every long
prompt by itself and finds any beginning of it again. Later models find only what ends at a breakpoint, which by itself stands
behind the question, and bill what they write (developers.openai.com/api/docs/guides/prompt-caching): they are given one behind the
instructions, and no other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any, Literal

from autointerp import messages
from autointerp.errors import UsageError
from autointerp.judges import error_codes, http
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry
from autointerp.judges.openai_client import OpenAIClient
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply, Usage
from autointerp.spec.sections import Judge as JudgeSettings

PROVIDER = "openai"
KEY = "OPENAI_API_KEY"

# The least effort that each family takes (developers.openai.com/api/docs/guides/reasoning); first match wins.
# Families that do not reason reject the parameter, and unknown ones are left to their default.
LEAST_EFFORT: tuple[tuple[str, str | None], ...] = (
    (r"gpt-.*-(chat|pro|codex)", None),
    (r"gpt-6-astra|gpt-6\.1-", "low"),
    (r"gpt-(6|5\.[1-9])\b", "none"),
    (r"gpt-5\b", "minimal"),
    (r"o[1-9]", "low"),
)


_BREAKPOINTS = re.compile(r"gpt-(5\.[6-9]|[6-9])")
"""Models whose cache works by breakpoints."""
LEAST_OUTPUT = 16
"""The least `max_output_tokens` that the API takes."""


class OpenAIJudge:
    """A GPT model. One client, shared by all threads; closing the judge closes it."""

    is_llm = True

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key."""
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
            "api": "responses",
            "thinking": self._settings.thinking,
            "temperature": self._settings.temperature,
        }

    def ask(self, prompt: Prompt) -> Reply:
        request = request_of(self._settings, prompt)
        body = self._client.send(lambda sdk: sdk.responses.with_streaming_response.create(**request))
        outcome = body if isinstance(body, JudgeError) else read_response(*body)
        if isinstance(outcome, JudgeError):
            raise outcome
        return outcome

    def count_tokens(self, prompt: Prompt) -> int | None:
        question = question_of(self._settings, prompt)
        body = self._client.send(lambda sdk: sdk.responses.input_tokens.with_streaming_response.count(**question))
        if isinstance(body, JudgeError):
            raise body
        return http.count(body[0], "input_tokens") or None

    def close(self) -> None:
        self._client.close()


def open_client(settings: JudgeSettings) -> OpenAIClient:
    """The SDK's client without retries. Raises `UsageError` for a missing key."""
    key = os.environ.get(KEY)
    if not key:
        raise UsageError(f"judge.model = {settings.model} needs a key: set {KEY} in the environment")
    return OpenAIClient(PROVIDER, key, settings.base_url, settings.timeout_s)


def request_of(settings: JudgeSettings, prompt: Prompt) -> dict[str, Any]:
    """What asking sends, alone or within a batch."""
    ceiling = max(LEAST_OUTPUT, prompt.max_tokens)
    request = {**question_of(settings, prompt), "max_output_tokens": ceiling, "store": False}
    if settings.temperature is not None:
        request["temperature"] = settings.temperature
    if prompt.choices:
        request |= {"include": ["message.output_text.logprobs"], "top_logprobs": messages.MAX_TOP_LOGPROBS}
    if _BREAKPOINTS.match(request["model"]):
        request |= {"prompt_cache_options": {"mode": "explicit"}, "prompt_cache_key": _cache_key(prompt)}
    return request


def question_of(settings: JudgeSettings, prompt: Prompt) -> dict[str, Any]:
    """What both asking and counting send."""
    model = settings.model.partition("/")[2]
    question: dict[str, Any] = {"model": model}
    if _BREAKPOINTS.match(model):
        question["input"] = [*_up_to_breakpoint(prompt.system), {"role": "user", "content": prompt.user}]
    else:
        question |= {"instructions": prompt.system, "input": prompt.user}
    if not prompt.choices:
        form = {"type": "json_schema", "name": "reply", "strict": True, "schema": dict(prompt.schema)}
        question["text"] = {"format": form}
    effort = None if settings.thinking else least_effort(model)
    return question if effort is None else {**question, "reasoning": {"effort": effort}}


def no_probabilities(settings: JudgeSettings) -> str | None:
    """Why a model gives no probabilities of its tokens: one that reasons before it answers does not. None: it should."""
    model = settings.model.partition("/")[2]
    if settings.thinking or least_effort(model) not in (None, "none"):
        return f"{model} reasons before it answers and gives no probabilities then"
    return None


def _up_to_breakpoint(system: str) -> list[dict[str, Any]]:
    """The instructions as a message whose end is where the cached part of a prompt ends."""
    block = {"type": "input_text", "text": system, "prompt_cache_breakpoint": {"mode": "explicit"}}
    return [{"role": "developer", "content": [block]}]


def _cache_key(prompt: Prompt) -> str:
    """Brings questions with the same instructions to where these are cached."""
    return hashlib.sha256(prompt.system.encode("utf-8", "replace")).hexdigest()[:32]


def least_effort(model: str) -> str | None:
    """The smallest reasoning effort that the model takes, or None where the parameter is better left out."""
    return next((effort for pattern, effort in LEAST_EFFORT if re.match(pattern, model)), None)


def read_response(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Responses body as a reply."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    usage = read_usage(body.get("usage"), "input_tokens", "output_tokens")
    output = body.get("output")
    items = [item for item in output if isinstance(item, Mapping)] if isinstance(output, list) else []
    parts = [
        part
        for item in items
        if item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, Mapping)
    ]
    text = "".join(str(part.get("text", "")) for part in parts if part.get("type") == "output_text")
    refusals = [str(part.get("refusal", "")) for part in parts if part.get("type") == "refusal"]
    status, details = body.get("status"), body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    probabilities = next(
        (messages.first_token_probabilities(part["logprobs"]) for part in parts if part.get("logprobs")), None
    )
    stop: Literal["complete", "truncated", "refusal"]
    if refusals or reason == "content_filter":
        stop, text = "refusal", "".join(refusals) or text
    elif status == "incomplete" and reason == "max_output_tokens":
        stop = "truncated" if probabilities is None else "complete"
    elif status == "completed":
        stop = "complete"
    else:
        said = error_codes.tidy(f"{status} {reason or ''}")
        kind = ItemFailed if status == "incomplete" else MayRetry
        return kind(f"{PROVIDER} ended the reply unfinished: {said}", usage=usage)
    served, request_id = str(body.get("model", "")), headers.get("x-request-id")
    return Reply(text, stop, usage, served, request_id, rate_limits(headers), probabilities)


def read_usage(usage: Any, input_name: str, output_name: str) -> Usage:
    """OpenAI's counts made disjoint: its input count includes cached and written tokens. None counts as unknown."""
    if not isinstance(usage, Mapping):
        return Usage(known=False)
    total = http.count(usage, input_name)
    cached = min(total, http.count(usage, f"{input_name}_details", "cached_tokens"))
    written = min(total - cached, http.count(usage, f"{input_name}_details", "cache_write_tokens"))
    return Usage(
        input_tokens=total - cached - written,
        output_tokens=http.count(usage, output_name),
        cache_write_tokens=written,
        cache_read_tokens=cached,
    )
