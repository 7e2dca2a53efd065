"""Servers that speak Chat Completions: vLLM, llama.cpp, Ollama, gateways.

A request has the form that the server takes (`autointerp.judges.request_form`). Such servers keep the prefixes of prompts that they have processed, so a run's
instructions are processed once, as `cached_tokens` shows. Some put their JSON into prose or a code fence, which the parser of the
reply handles. If a server reports no usage, the usage is unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Literal

from autointerp import messages
from autointerp.errors import UsageError
from autointerp.judges import error_codes, request_form
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop
from autointerp.judges.providers.llm_judge import LLMJudge
from autointerp.judges.providers.openai_client import OpenAIClient
from autointerp.judges.providers.reply_gate import CompletionBody, joined, name_of
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import Prompt, Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS

PROVIDER = "openai-compatible"

# Why a reply ended, in lower case: OpenAI's reasons, and those of llama.cpp and TGI (eos), Cohere (complete), Mistral (model_length),
# Gemini (max_tokens, safety, recitation, prohibited_content, blocklist, spii) and Zhipu (sensitive).
_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"), "complete"),
    **dict.fromkeys(("length", "max_tokens", "model_length"), "truncated"),
    **dict.fromkeys(
        ("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii", "sensitive", "refusal"),
        "refusal",
    ),
}
# Replies that a failure upstream ended: gateways (error: pi #9002, koboldcpp #2481, genkit #6259), vLLM (abort), DeepSeek
# (insufficient_system_resource), Zhipu (network_error), Gemini (malformed_function_call, other).
_FAILED = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "insufficient_system_resource",
        "network_error",
        "malformed_function_call",
        "other",
    }
)


class CompatibleJudge(LLMJudge):
    """A model behind a Chat Completions server, which has no endpoint to count tokens. Sampling is greedy by default."""

    ask_method = "chat.completions.create"

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` if `base_url` is missing."""
        if not settings.address:
            raise UsageError(f"judge.model = {settings.model} needs judge.base_url, such as http://127.0.0.1:8080/v1")
        addressed = settings.model_copy(update={"base_url": settings.address})
        super().__init__(settings, OpenAIClient(PROVIDERS[PROVIDER], addressed))
        self.form = request_form.form_of(settings)
        self.form_is_settled = request_form.is_certain(settings)
        self.settling = threading.Lock()

    @property
    def _temperature(self) -> float:
        return 0.0 if self._settings.temperature is None else self._settings.temperature

    def identity(self) -> Mapping[str, Any]:
        identity: dict[str, Any] = {
            "provider": PROVIDER,
            "model": self._model,
            "api": "chat/completions",
            "temperature": self._temperature,
        }
        # Only if they are set, so that the keys of earlier calls hold. Neither the address nor the form of the request is part of it.
        if self._settings.thinking:
            identity["thinking"] = True
        if self._settings.extra_body:
            identity["extra_body"] = self._settings.extra_body
        return identity

    def ask(self, prompt: Prompt) -> Reply:
        reply = super().ask(prompt)
        if prompt.choices and reply.stop != "refusal" and reply.probabilities is None:
            raise MustStop(
                f"{self._settings.model} gives no probabilities of its tokens: set score.ask to grade",
                usage=reply.usage,
            )
        return reply

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        form = self.form
        request: dict[str, Any] = {
            "model": self._model,
            "messages": request_form.messages_of(form, prompt, self._settings.thinking),
        }
        if form.temperature:
            request["temperature"] = self._temperature
        extra = request_form.thinking_fields(form, self._settings) | (self._settings.extra_body or {})
        if extra:
            request["extra_body"] = extra
        limit = "max_completion_tokens" if form.max_completion_tokens else "max_tokens"
        if prompt.choices:
            return request | {limit: 1, "logprobs": True, "top_logprobs": messages.MAX_TOP_LOGPROBS}
        return request | {limit: prompt.max_tokens} | request_form.response_format(form, prompt.schema)

    def _read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
        return read_completion(body, headers)


def read_completion(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply | JudgeError:
    """A Chat Completions body as a reply. A reply with the requested probabilities is complete after its first token."""
    failure = error_codes.failure_in_body(PROVIDER, body, headers)
    if failure is not None:
        return error_codes.outcome_of(failure)
    reply = CompletionBody.model_validate(body)
    usage, choice = reply.usage.usage(), next(iter(reply.choices), None)
    if choice is None or choice.message is None:
        return MayRetry(f"{PROVIDER} answered without a message", usage=usage)
    reason = choice.finish_reason.lower()
    failure = error_codes.failure_in_body(PROVIDER, {"error": choice.error}, headers)
    if failure is not None or reason in _FAILED:
        outcome = error_codes.outcome_of(
            failure or error_codes.Failure(PROVIDER, None, frozenset({reason}), "", headers)
        )
        outcome.usage = usage
        return outcome
    text, refusal = joined(choice.message.content, "text", "output_text"), choice.message.refusal
    probabilities = messages.first_token_probabilities(choice.logprobs.content)
    stop = "refusal" if refusal else _STOPS.get(reason)
    if stop is None and not reason and text:  # some servers leave it out: a text that was cut off does not parse
        stop = "complete"
    if stop is None:
        return ItemFailed(f"{PROVIDER} stopped for an unknown reason: {choice.finish_reason}", usage=usage)
    if stop == "truncated" and probabilities is not None:
        stop = "complete"
    request_id = name_of(headers.get("x-request-id")) or reply.id or None
    return Reply(refusal or text, stop, usage, reply.model, request_id, rate_limits(headers), probabilities)
