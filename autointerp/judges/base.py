"""The seam between the evaluation and whoever answers: a `Prompt` goes in, a `Reply` or a `JudgeError` comes out.

A provider makes exactly one attempt a call and translates its SDK's exceptions into the five outcomes below. Nothing of an
SDK crosses this seam: its exceptions do not survive pickling, and its retries escape accounting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from autointerp.judges.limits.admission_window import RateLimits


@dataclass(frozen=True)
class MarkedText:
    """A window of text around one token.

    `tokens` are strings whose concatenation is the window's text; `mark` is the index of the token under judgement.
    `heat` gives each token's activation as an integer 0..10 of the unit's maximum. Explainers see it; a scoring
    judge never does, and it is then empty.
    """

    tokens: tuple[str, ...]
    mark: int
    heat: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()
    """Where several tokens are marked, their indices in ascending order; `mark` is then one of them."""

    @property
    def text(self) -> str:
        """The window as plain text, without a mark."""
        return "".join(self.tokens)


@dataclass(frozen=True)
class ExplainMaterial:
    """What an explainer is shown of one unit: windows in which it fires, strongest first, and windows in which it does not."""

    activating: tuple[MarkedText, ...]
    quiet: tuple[MarkedText, ...]
    contrast: tuple[MarkedText, ...] = ()
    """Windows with the mark on a word of activating ones, where the unit is silent."""
    neighbours: tuple[MarkedText, ...] = ()
    """Windows with the mark where units of nearly the same direction fire, and it does not."""
    raised: tuple[str, ...] = ()
    """Tokens that the unit's direction by itself makes likeliest."""
    lowered: tuple[str, ...] = ()
    """Tokens that it makes least likely."""
    draft: str = ""
    """An explanation that is to be mended."""
    missed: tuple[MarkedText, ...] = ()
    """Windows in which the unit fires at the mark, which the draft does not cover."""
    mistaken: tuple[MarkedText, ...] = ()
    """Windows whose mark the draft covers, where the unit is silent."""


@dataclass(frozen=True)
class ScoreMaterial:
    """What a scoring judge is shown: an explanation and one marked window. Never the activation, bin, kind or arm."""

    explanation: str
    window: MarkedText


@dataclass(frozen=True)
class GroupMaterial:
    """Several items in one question, each judged on its own."""

    items: tuple[ScoreMaterial, ...]


@dataclass(frozen=True)
class TaskMaterial:
    """What another evaluation shows: `task` says what is asked of the windows, in a scorer's own word.

    `sets` are further groups of windows, where windows are to be told apart by them.
    """

    task: str
    explanation: str
    windows: tuple[MarkedText, ...]
    sets: tuple[tuple[MarkedText, ...], ...] = ()


Material = ExplainMaterial | ScoreMaterial | GroupMaterial | TaskMaterial


@dataclass(frozen=True)
class Prompt:
    """One question to a judge.

    `system` is the same for every question of a run (so that it caches), `user` holds the case. `schema` is the JSON
    schema that the reply must satisfy. `material` is what `user` was rendered from: judges that do not read prose, such as
    `embedded`, answer from it, and it holds nothing that `user` does not show.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    max_tokens: int
    material: Material
    choices: tuple[str, ...] = ()
    """Answers of a token each whose probabilities are wanted with the reply, where the server gives them."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the provider counted them. The four classes are disjoint: `input_tokens` excludes cached ones.

    `known` is False where a server said nothing: the counts are then 0, and the call's cost is unknown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    known: bool = True


@dataclass(frozen=True)
class Reply:
    """What came back: the text, why it ended, and what it cost in tokens.

    `stop` is `complete`, `truncated` (the token limit was met) or `refusal`; only a complete reply is parsed.
    """

    text: str
    stop: Literal["complete", "truncated", "refusal"]
    usage: Usage
    served_model: str
    request_id: str | None = None
    limits: RateLimits | None = None
    """What the headers say the account may do in a minute."""
    probabilities: Mapping[str, float] | None = None
    """Of the prompt's `choices` as first token of the reply, as far as the server gave them; not normalised."""


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
