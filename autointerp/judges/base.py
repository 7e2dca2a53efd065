"""The interface between the evaluation and its judges: a `Prompt` goes in, a `Reply` or a `JudgeError` comes out.

A judge makes exactly one attempt per call and turns its SDK's exceptions into the four outcomes below. Nothing of an SDK passes this
interface: SDK exceptions do not survive pickling, and SDK retries would escape the accounting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autointerp.messages import Prompt, RateLimits, Reply, Usage


class JudgeError(Exception):
    """Base of everything that can go wrong in one attempt.

    `usage` is what the attempt is billed: None if nothing, an unknown usage if the request may have arrived and may be billed.
    `limits` holds the limits per minute that the answer's headers stated.
    """

    limits: RateLimits | None = None

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.__dict__))


class MustWait(JudgeError):
    """The provider asks for a pause (429, overloaded): try this item again after `retry_after_s` (None: it gave no time).

    The pause applies to every caller of the same account and model, not only to this item.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, usage: Usage | None = None) -> None:
        super().__init__(message, usage=usage)
        self.retry_after_s = retry_after_s


class MayRetry(JudgeError):
    """This one attempt failed for a transient reason (5xx, timeout, dropped connection): try again soon, a few times."""


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
    """A model that explains or scores.

    `name` is `provider/model` as in the spec. `is_llm` is False for baselines, whose results are labelled as such wherever
    they appear. `ask` makes one attempt; it may be called from many threads.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_llm(self) -> bool: ...

    def identity(self) -> Mapping[str, Any]:
        """Everything besides the prompt that decides the answer: provider, model, API version, sampling settings."""
        ...

    def ask(self, prompt: Prompt) -> Reply:
        """Make one attempt. Raises `MustWait`, `MayRetry`, `ItemFailed` or `MustStop`."""
        ...

    def count_tokens(self, prompt: Prompt) -> int | None:
        """Input tokens of `prompt` by the provider's free counting endpoint, or None if it has no such endpoint."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
