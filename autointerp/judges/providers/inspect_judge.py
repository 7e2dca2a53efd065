"""Models through inspect_ai: `inspect/PROVIDER/MODEL`, with every provider that inspect_ai knows.

Written against inspect_ai 0.3.285 (`get_model`, `Model.generate`). inspect_ai finds the providers' keys in the environment by itself;
`judge.key_env` and `judge.base_url` replace its key and address. Its clients belong to one event loop, so all threads hand their questions to
a loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any, Literal

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
    get_model,
)
from inspect_ai.util import JSONSchema

from autointerp import redaction
from autointerp.errors import UsageError
from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop
from autointerp.judges.error_codes import Failure
from autointerp.messages import Prompt, Reply, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import model_of

PROVIDER = "inspect"
_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    "stop": "complete",
    "max_tokens": "truncated",
    "model_length": "truncated",
    "content_filter": "refusal",
}


class InspectJudge:
    """A model that inspect_ai asks."""

    is_llm = True

    def __init__(self, settings: JudgeSettings) -> None:
        """Raises `UsageError` for a model that inspect_ai does not know, a package that it lacks, or a missing key."""
        self._settings = settings
        self._model = _opened(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inspect-judge", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._settings.model

    def identity(self) -> Mapping[str, Any]:
        return {
            "provider": PROVIDER,
            "model": model_of(self._settings.model),
            "api": "inspect_ai/generate",
            "thinking": self._settings.thinking,
            "temperature": self._settings.temperature,
        }

    def ask(self, prompt: Prompt) -> Reply:
        if prompt.choices:
            raise MustStop(f"{self.name} is not asked for probabilities: set score.ask to grade")
        asked = [ChatMessageSystem(content=prompt.system), ChatMessageUser(content=prompt.user)]
        waiting = asyncio.run_coroutine_threadsafe(
            self._model.generate(asked, config=self._config(prompt), cache=False), self._loop
        )
        try:
            output = waiting.result(self._settings.timeout_s)
        except TimeoutError:
            waiting.cancel()
            message = f"{PROVIDER} did not answer within {self._settings.timeout_s:g} s (judge.timeout_s)"
            raise MayRetry(message, usage=Usage(known=False)) from None
        except Exception as error:
            raise _outcome(error) from None
        return _reply(output)

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._model.api.aclose(), self._loop).result(self._settings.timeout_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        """inspect_ai is not asked for probabilities."""
        return "probabilities are not read through inspect_ai"

    def _config(self, prompt: Prompt) -> GenerateConfig:
        schema = ResponseSchema(name="reply", json_schema=JSONSchema.model_validate(dict(prompt.schema)), strict=True)
        return GenerateConfig(
            max_tokens=prompt.max_tokens,
            temperature=self._settings.temperature,
            response_schema=schema,
            reasoning_effort="medium" if self._settings.thinking else None,
        )


def _opened(settings: JudgeSettings) -> Model:
    """The model, without retries of its own: waiting and repeating are this program's. Raises `UsageError`."""
    key = os.environ.get(settings.key_env, "").strip() if settings.key_env else None
    if key == "":
        raise UsageError(f"judge.key_env = {settings.key_env}: set {settings.key_env} in the environment to the key")
    redaction.learn([key] if key else [])
    config = GenerateConfig(max_retries=0, max_connections=settings.concurrency)
    try:
        model = get_model(
            model_of(settings.model), config=config, base_url=settings.base_url, api_key=key, memoize=False
        )
    except (PrerequisiteError, ValueError, ImportError) as error:
        reason = error_codes.redact(str(getattr(error, "message", error)))
        raise UsageError(f"judge.model = {settings.model}: inspect_ai cannot open it: {reason}") from None
    # The SDKs of OpenAI and Anthropic, which most of its providers use, repeat a request twice by themselves.
    client: Any = getattr(model.api, "client", None)
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    return model


def _reply(output: ModelOutput) -> Reply:
    """inspect_ai's output as a reply. Raises `ItemFailed`."""
    given = output.usage
    usage = Usage(known=False)
    if given is not None:
        cached = (given.input_tokens_cache_write or 0, given.input_tokens_cache_read or 0)
        usage = Usage(given.input_tokens, given.output_tokens, *cached)
    if output.stop_reason == "model_length" and given is None:  # how it passes on that a question was too long
        raise ItemFailed(f"{PROVIDER}: {error_codes.redact(output.completion)}", reason="too_long")
    stop = _STOPS.get(output.stop_reason)
    if output.error or stop is None:
        detail = error_codes.redact(output.error or output.stop_reason)
        raise ItemFailed(f"{PROVIDER} ended the reply unfinished: {detail}", usage=usage)
    return Reply(output.completion, stop, usage, output.model)


def _outcome(error: BaseException) -> JudgeError:
    """The outcome of an exception of the provider's SDK, which inspect_ai passes on, perhaps inside its own."""
    for one in (error, error.__cause__, error.__context__):
        status = getattr(one, "status_code", None)
        if isinstance(status, int):
            body = getattr(one, "body", None)
            headers = getattr(getattr(one, "response", None), "headers", None) or {}
            message = error_codes.message_of(body) or str(one)
            return error_codes.outcome_of(Failure(PROVIDER, status, error_codes.codes_of(body), message, dict(headers)))
    detail = error_codes.redact(f"{type(error).__name__}: {error}")
    if "Timeout" in detail or "Connection" in detail:
        return MayRetry(f"{PROVIDER} got no answer: {detail}", usage=Usage(known=False))
    return MustStop(f"{PROVIDER} cannot be called: {detail}: check judge.model")
