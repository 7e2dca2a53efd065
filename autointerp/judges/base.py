"""The seam between the evaluation and whoever answers: a `Prompt` goes in, a `Reply` or a `JudgeError` comes out.

A provider makes exactly one attempt a call and translates its SDK's exceptions into the five outcomes below. Nothing of an
SDK crosses this seam: its exceptions do not survive pickling, and its retries escape accounting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autointerp.messages import Prompt, RateLimits, Reply, Usage


class JudgeError(Exception):
    """Base of what can go wrong in one attempt. `usage` holds what the provider billed all the same, if it said so.

    None: it bills nothing. An unknown usage: the question may have arrived, and nobody can tell whether it is billed.
    `limits` is what the headers say the account may do in a minute.
    """

    limits: RateLimits | None = None

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.__dict__))


class MustWait(JudgeError):
    """The provider asks for a pause (429, overloaded): try this item again after `retry_after_s` (None: it did not say).

    The pause concerns everybody who uses the same account and model, not only this item.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, usage: Usage | None = None) -> None:
        super().__init__(message, usage=usage)
        self.retry_after_s = retry_after_s


class MayRetry(JudgeError):
    """A passing failure of this one attempt (5xx, timeout, dropped connection): try again soon, a few times."""


class ItemFailed(JudgeError):
    """This item cannot be answered (too long, rejected content, malformed for this model); others can."""

    def __init__(self, message: str, *, reason: str = "provider_error", usage: Usage | None = None) -> None:
        super().__init__(message, usage=usage)
        self.reason = reason


class MustStop(JudgeError):
    """No item can be answered until a person acts: authentication, billing, spend limit, unknown or retired model."""


def _rebuild(kind: type[JudgeError], message: str, state: dict[str, Any]) -> JudgeError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class Judge(Protocol):
    """Whoever explains or scores.

    `name` is `provider/model` as the spec gives it. `is_llm` is False for baselines, whose results are labelled as such
    wherever they appear. `ask` makes one attempt and is safe to call from many threads.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_llm(self) -> bool: ...

    def identity(self) -> Mapping[str, Any]:
        """Everything besides the prompt that decides the answer: provider, model, API version, sampling settings."""
        ...

    def ask(self, prompt: Prompt) -> Reply:
        """One attempt. Raises `MustWait`, `MayRetry`, `ItemFailed` or `MustStop`."""
        ...

    def count_tokens(self, prompt: Prompt) -> int | None:
        """Input tokens of `prompt` as the provider's free counting endpoint gives them, or None where there is none."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
