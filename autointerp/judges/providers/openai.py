"""GPT models through OpenAI's Responses API: strict structured output, and nothing stored at the provider.

Written against openai 3.52. OpenAI counts cached tokens as part of the input; here the counts are made disjoint.

Prompt caching (developers.openai.com/api/docs/guides/prompt-caching): up to GPT-5.5, every long prompt is cached and any common
beginning is found again. Later models find only what ends at a breakpoint, put one behind the question by default, and bill cache
writes. They are given one explicit breakpoint, behind the instructions, which all questions of a run share.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar, Literal

from autointerp import messages
from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry
from autointerp.judges.providers.llm_judge import LLMJudge, day_of
from autointerp.judges.providers.openai_client import OpenAIClient
from autointerp.judges.providers.reply_gate import ResponseBody, joined, name_of
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, model_of

PROVIDER = "openai"

# The lowest effort that each family accepts (developers.openai.com/api/docs/guides/reasoning); the first match counts. Families
# that do not reason reject the parameter. Unknown families keep their default.
LOWEST_EFFORT: tuple[tuple[str, str | None], ...] = (
    (r"gpt-.*-(chat|pro|codex)", None),
    (r"gpt-6-astra|gpt-6\.1-", "low"),
    (r"gpt-(6|5\.[1-9])\b", "none"),
    (r"gpt-5\b", "minimal"),
    (r"o[1-9]", "low"),
)
_BREAKPOINTS = re.compile(r"gpt-(5\.[6-9]|[6-9])")
"""Models whose cache works by breakpoints."""
MIN_OUTPUT_TOKENS = 16
"""The smallest `max_output_tokens` that the API accepts."""


class OpenAIJudge(LLMJudge):
    """A GPT model."""

    ask_method = "responses.create"
    count_method: ClassVar[str | None] = "responses.input_tokens.count"

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a missing key."""
        super().__init__(settings, open_client(settings))

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": self._model,
            "api": "responses",
            "thinking": self._settings.thinking,
            "temperature": self._settings.temperature,
        }

    def retirement_date(self) -> date | None:
        return day_of(self._fetch("models.retrieve", model=self._model).get("shutdown_date"))

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        model = model_of(settings.model)
        if settings.thinking or lowest_effort(model) not in (None, "none"):
            return f"{model} reasons before it answers and gives no probabilities then"
        return None

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return request_of(self._settings, prompt)

    def _count_request(self, prompt: Prompt) -> dict[str, Any]:
        return question_of(self._settings, prompt)

    def _read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
        return read_response(body, headers)


def open_client(settings: JudgeSettings) -> OpenAIClient:
    """The SDK's client without retries. Raises `UsageError` for a missing key."""
    return OpenAIClient(PROVIDERS[PROVIDER], settings)


def request_of(settings: JudgeSettings, prompt: Prompt) -> dict[str, Any]:
    """The Responses request of a prompt, alone or within a batch."""
    limit = max(MIN_OUTPUT_TOKENS, prompt.max_tokens)
    request = {**question_of(settings, prompt), "max_output_tokens": limit, "store": False}
    if settings.temperature is not None:
        request["temperature"] = settings.temperature
    if prompt.choices:
        request |= {"include": ["message.output_text.logprobs"], "top_logprobs": messages.MAX_TOP_LOGPROBS}
    if _BREAKPOINTS.match(request["model"]):
        request |= {"prompt_cache_options": {"mode": "explicit"}, "prompt_cache_key": _cache_key(prompt)}
    return request


def question_of(settings: JudgeSettings, prompt: Prompt) -> dict[str, Any]:
    """The part of a request that counting its tokens takes too."""
    model = model_of(settings.model)
    question: dict[str, Any] = {"model": model}
    if _BREAKPOINTS.match(model):
        question["input"] = [*_up_to_breakpoint(prompt.system), {"role": "user", "content": prompt.user}]
    else:
        question |= {"instructions": prompt.system, "input": prompt.user}
    if not prompt.choices:
        form = {"type": "json_schema", "name": "reply", "strict": True, "schema": dict(prompt.schema)}
        question["text"] = {"format": form}
    effort = None if settings.thinking else lowest_effort(model)
    return question if effort is None else {**question, "reasoning": {"effort": effort}}


def _up_to_breakpoint(system: str) -> list[dict[str, Any]]:
    """The instructions as a message with a cache breakpoint at its end."""
    block = {"type": "input_text", "text": system, "prompt_cache_breakpoint": {"mode": "explicit"}}
    return [{"role": "developer", "content": [block]}]


def _cache_key(prompt: Prompt) -> str:
    """Routes questions with the same instructions to the servers that cache them."""
    return hashlib.sha256(prompt.system.encode("utf-8", "replace")).hexdigest()[:32]


def lowest_effort(model: str) -> str | None:
    """The lowest reasoning effort that the model accepts; None if the parameter must be left out or the model is unknown."""
    return next((effort for pattern, effort in LOWEST_EFFORT if re.match(pattern, model)), None)


def read_response(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Responses body as a reply."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    reply = ResponseBody.model_validate(body)
    usage, parts, reason = reply.usage.usage(), reply.parts, reply.incomplete_details.reason
    text, refusal = joined(parts, "output_text"), "".join(part.refusal for part in parts if part.type == "refusal")
    probabilities = next((messages.first_token_probabilities(part.logprobs) for part in parts if part.logprobs), None)
    stop: Literal["complete", "truncated", "refusal"]
    if any(part.type == "refusal" for part in parts) or reason == "content_filter":
        stop, text = "refusal", refusal or text
    elif reply.status == "incomplete" and reason == "max_output_tokens":
        # A question for probabilities is answered by its first token, whatever would have followed.
        stop = "truncated" if probabilities is None else "complete"
    elif reply.status == "completed":
        stop = "complete"
    else:
        kind = ItemFailed if reply.status == "incomplete" else MayRetry
        return kind(f"{PROVIDER} ended the reply unfinished: {reply.status} {reason}".rstrip(), usage=usage)
    request_id = name_of(headers.get("x-request-id")) or None
    return Reply(text, stop, usage, reply.model, request_id, rate_limits(headers), probabilities)
