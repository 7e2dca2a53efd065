"""A judge that is a function of a Python program: a prompt goes in, a text comes out. So is a model of inspect_ai.

Its name in specs and reports is `python/NAME`, with a hash of the function's code, so that answers of an earlier version of it are not taken
for its own. The hash does not cover what the code refers to.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import CodeType
from typing import Any, Literal

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.judges.base import MayRetry, MustStop
from autointerp.messages import Prompt, Reply, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

PROVIDER = "python"
_MISTAKES = (NameError, TypeError, AttributeError, ImportError, KeyError, IndexError, AssertionError)
"""Errors of a program, which come again with every question."""
_STOPS: dict[str, Literal["complete", "truncated", "refusal"]] = {
    "max_tokens": "truncated",
    "model_length": "truncated",
    "content_filter": "refusal",
}
"""Why a model of inspect_ai ended its reply, where that is not a complete one."""


class PromptText(str):
    """A prompt as one text, instructions first, with its parts: `system`, `user`, `schema` (of the JSON reply) and `max_tokens`."""

    __slots__ = ("max_tokens", "schema", "system", "user")
    system: str
    user: str
    schema: Mapping[str, Any]
    max_tokens: int

    @classmethod
    def of(cls, prompt: Prompt) -> PromptText:
        """The text of a prompt."""
        text = cls(f"{prompt.system}\n\n{prompt.user}" if prompt.system else prompt.user)
        text.system, text.user = prompt.system, prompt.user
        text.schema, text.max_tokens = prompt.schema, prompt.max_tokens
        return text


class CalledJudge:
    """A function as a judge. It counts as a language model; its usage is unknown unless it is a model of inspect_ai."""

    is_llm = True

    def __init__(self, settings: JudgeSettings, function: Any = None) -> None:
        """Raises `UsageError` without a function: a spec names one, and cannot hold it."""
        if function is None:
            raise UsageError(
                f"judge.model = {settings.model} is a function of the Python program that made the run: call ai.evaluate(judge=...) there"
            )
        self.name = settings.model
        self._ask = _ModelOfInspect(function) if is_inspect_model(function) else _Function(function, self.name)

    def identity(self) -> Mapping[str, Any]:
        """The name, which has the hash of the code."""
        return {"provider": PROVIDER, "model": self.name}

    def ask(self, prompt: Prompt) -> Reply:
        """Call the function once. Its own mistakes stop the run; its other errors are tried again a few times."""
        try:
            return self._ask(prompt, self.name)
        except (MustStop, MayRetry):
            raise
        except _MISTAKES as error:
            raise MustStop(f"{self.name} raised {type(error).__name__}: {error}") from error
        except Exception as error:
            raise MayRetry(f"{self.name} raised {type(error).__name__}: {error}") from error

    def count_tokens(self, prompt: Prompt) -> int | None:
        """None: a function does not say."""
        return None

    def close(self) -> None:
        """End the thread of a model of inspect_ai."""
        self._ask.close()

    @classmethod
    def no_probabilities(cls, settings: JudgeSettings) -> str | None:
        """A function returns a text alone."""
        return "a function returns a text, without probabilities"


def is_inspect_model(value: Any) -> bool:
    """Whether it is a `Model` of inspect_ai, by its methods: the package need not be installed."""
    return hasattr(value, "api") and callable(getattr(value, "generate", None))


def name_of(function: Any) -> str:
    """The name of a function, an object that can be called, or a model of inspect_ai, as `judge.model`. Raises `UsageError`."""
    if is_inspect_model(function):
        return f"{PROVIDER}/{function}"[:128]
    if not callable(function):
        raise UsageError(
            f"a judge is a {type(function).__name__}: give a name such as 'anthropic/claude-haiku-4-5', a function from a prompt to a"
            " text, or a model of inspect_ai"
        )
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    name = name.replace("<locals>.", "").strip("<>")[:80]
    return f"{PROVIDER}/{name}-{content_hash(_code(code) if code else name)[:8]}"


def _code(code: CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


class _Function:
    def __init__(self, function: Callable[[PromptText], str], name: str) -> None:
        self._function = function

    def __call__(self, prompt: Prompt, name: str) -> Reply:
        text = self._function(PromptText.of(prompt))
        if not isinstance(text, str):
            raise MustStop(f"{name} returned a {type(text).__name__}: it has to return a text")
        return Reply(text, "complete", Usage(known=False), name)

    def close(self) -> None:
        """Does nothing."""


class _ModelOfInspect:
    """A model of inspect_ai. All its requests run in one event loop, to which its connections are bound."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inspect", daemon=True)
        self._thread.start()

    def __call__(self, prompt: Prompt, name: str) -> Reply:
        asked: Coroutine[Any, Any, Any] = self._model.generate(PromptText.of(prompt))
        output = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        usage = getattr(output, "usage", None)
        return Reply(
            output.completion,
            _STOPS.get(output.stop_reason, "complete"),
            _usage(usage) if usage is not None else Usage(known=False),
            str(output.model),
        )

    def close(self) -> None:
        """End the loop and its thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _usage(usage: Any) -> Usage:
    """The usage that inspect_ai reports, whose input tokens leave out those written to or read from a cache."""
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        getattr(usage, "input_tokens_cache_write", None) or 0,
        getattr(usage, "input_tokens_cache_read", None) or 0,
    )
