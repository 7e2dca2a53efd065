"""Models through LiteLLM: `litellm/PROVIDER/MODEL`, with every provider that LiteLLM knows.

Written against litellm 1.110 (`litellm.completion`). LiteLLM finds the providers' keys in the environment by itself; `judge.key_env` and
`judge.base_url` replace its key and address. Its retries are off, because they would escape the accounting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# Before the import, which would otherwise download a table of prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from autointerp import messages, redaction
from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import JudgeError, MayRetry, MustStop
from autointerp.judges.error_codes import Failure
from autointerp.judges.providers.openai_compatible import read_completion
from autointerp.messages import Prompt, Reply, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of

PROVIDER = "litellm"
_CODES = {
    "ContextWindowExceededError": frozenset({"context_length_exceeded"}),
    "ContentPolicyViolationError": frozenset({"content_policy_violation"}),
}
"""Codes of the error table for exceptions whose meaning LiteLLM keeps in their class."""
_MAY_HAVE_ARRIVED = (litellm.Timeout, litellm.APIConnectionError)


class LiteLLMJudge:
    """A model that LiteLLM asks."""

    is_llm = True

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a model that LiteLLM does not know, and for a missing key that `judge.key_env` names."""
        self._settings = settings
        self._model = model_of(settings.model)
        try:
            litellm.get_llm_provider(self._model, api_base=settings.base_url)
        except litellm.BadRequestError:
            raise UsageError(
                f"judge.model = {settings.model}: LiteLLM knows no such provider: write litellm/PROVIDER/MODEL"
            ) from None
        self._key = _key(settings.key_env)

    @property
    def name(self) -> str:
        return self._settings.model

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": self._model,
            "api": "litellm/completion",
            "thinking": self._settings.thinking,
            "temperature": self._settings.temperature,
        }

    def ask(self, prompt: Prompt) -> Reply:
        try:
            response = litellm.completion(**self._request(prompt))
        except Exception as error:
            raise _outcome(error) from None
        outcome = read_completion(response.model_dump(), {})
        if isinstance(outcome, JudgeError):
            raise outcome
        if prompt.choices and outcome.stop != "refusal" and outcome.probabilities is None:
            raise MustStop(
                f"{self.name} gives no probabilities of its tokens: set score.ask to grade", usage=outcome.usage
            )
        return outcome

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        """Does nothing: LiteLLM keeps its own connections."""

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        """Why the model returns no token probabilities; None if LiteLLM says that it may."""
        known = litellm.get_supported_openai_params(model_of(settings.model)) or []
        return None if "logprobs" in known else "LiteLLM passes no probabilities of it on"

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "max_tokens": prompt.max_tokens,
            "timeout": self._settings.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
        }
        if self._settings.temperature is not None:
            request["temperature"] = self._settings.temperature
        if self._settings.thinking:
            request["reasoning_effort"] = "medium"
        if self._settings.base_url:
            request["api_base"] = self._settings.base_url
        if self._key:
            request["api_key"] = self._key
        if prompt.choices:
            return request | {"max_tokens": 1, "logprobs": True, "top_logprobs": messages.MAX_TOP_LOGPROBS}
        if "response_format" in (litellm.get_supported_openai_params(self._model) or ()):
            form = {"name": "reply", "strict": True, "schema": dict(prompt.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        return request


def _key(variable: str | None) -> str | None:
    """The key that `judge.key_env` names, hidden from logs; None if it names none. Raises `UsageError` if it is not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"judge.key_env = {variable}: set {variable} in the environment to the key")
    redaction.learn([key])
    return key


def _outcome(error: Exception) -> JudgeError:
    """The outcome of LiteLLM's exception."""
    message = error_codes.redact(str(error))
    if isinstance(error, _MAY_HAVE_ARRIVED):
        return MayRetry(f"{PROVIDER} got no answer: {message}", usage=Usage(known=False))
    status = getattr(error, "status_code", None)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if status is None:
        return MustStop(f"{PROVIDER} cannot be called: {message}: check judge.model")
    codes = _CODES.get(type(error).__name__, frozenset())
    return error_codes.outcome_of(Failure(PROVIDER, int(status), codes, message, dict(headers)))
