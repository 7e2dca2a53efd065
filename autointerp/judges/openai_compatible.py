"""Any server that speaks Chat Completions: vLLM, llama.cpp, Ollama, gateways.

The request holds only what all of them take. They keep what they read of a prompt: a run's instructions are read once, as `cached_tokens` shows. Some servers answer with JSON inside prose or a code fence; that is for
whoever parses the reply. Usage that a server leaves out is marked unknown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from autointerp import messages
from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop
from autointerp.judges.openai import read_usage
from autointerp.judges.openai_client import OpenAIClient
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply
from autointerp.spec.sections import Judge as JudgeSettings

PROVIDER = "openai-compatible"
KEY = "OPENAI_COMPATIBLE_API_KEY"

_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    "stop": "complete",
    "eos": "complete",
    "length": "truncated",
    "content_filter": "refusal",
}


class CompatibleJudge:
    """A model behind a Chat Completions server. Sampling is greedy unless `judge.temperature` says otherwise."""

    is_llm = True

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` where `base_url` is missing. Local servers need no `OPENAI_COMPATIBLE_API_KEY`."""
        if not settings.base_url:
            raise UsageError(f"judge.model = {settings.model} needs judge.base_url, such as http://127.0.0.1:8080/v1")
        self._model = settings.model.partition("/")[2]
        self._settings = settings
        self._client = OpenAIClient(PROVIDER, os.environ.get(KEY) or "none", settings.base_url, settings.timeout_s)

    @property
    def name(self) -> str:
        return self._settings.model

    @property
    def _temperature(self) -> float:
        return 0.0 if self._settings.temperature is None else self._settings.temperature

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": self._model,
            "api": "chat/completions",
            "temperature": self._temperature,
        }

    def ask(self, prompt: Prompt) -> Reply:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "temperature": self._temperature,
        }
        if prompt.choices:
            request |= {"max_tokens": 1, "logprobs": True, "top_logprobs": messages.MAX_TOP_LOGPROBS}
        else:
            form = {"name": "reply", "strict": True, "schema": dict(prompt.schema)}
            response_format = {"type": "json_schema", "json_schema": form}
            request |= {"max_tokens": prompt.max_tokens, "response_format": response_format}
        body = self._client.send(lambda sdk: sdk.chat.completions.with_streaming_response.create(**request))
        outcome = body if isinstance(body, JudgeError) else read_completion(*body)
        if isinstance(outcome, JudgeError):
            raise outcome
        if prompt.choices and outcome.stop != "refusal" and outcome.probabilities is None:
            raise MustStop(
                f"{self._settings.model} gives no probabilities of its tokens: set score.ask to grade",
                usage=outcome.usage,
            )
        return outcome

    def count_tokens(self, prompt: Prompt) -> int | None:
        """None: Chat Completions has no counting endpoint."""
        return None

    def close(self) -> None:
        self._client.close()


def read_completion(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Chat Completions body as a reply. One that brings the probabilities asked for is complete after its first token."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    usage = read_usage(body.get("usage"), "prompt_tokens", "completion_tokens")
    found = body.get("choices")
    choice = found[0] if isinstance(found, list) and found and isinstance(found[0], Mapping) else None
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, Mapping):
        return MayRetry(f"{PROVIDER} answered without a message", usage=usage)
    text, refusal = str(message.get("content") or ""), message.get("refusal")
    logprobs = choice.get("logprobs")
    probabilities = (
        messages.first_token_probabilities(logprobs.get("content")) if isinstance(logprobs, Mapping) else None
    )
    stop = "refusal" if refusal else _STOPS.get(str(choice.get("finish_reason")))
    if stop is None:
        said = error_codes.tidy(str(choice.get("finish_reason")))
        return ItemFailed(f"{PROVIDER} stopped for an unknown reason: {said}", usage=usage)
    if stop == "truncated" and probabilities is not None:
        stop = "complete"
    request = headers.get("x-request-id") or body.get("id")
    return Reply(
        str(refusal) if refusal else text,
        stop,
        usage,
        str(body.get("model", "")),
        str(request) if request else None,
        rate_limits(headers),
        probabilities,
    )
