"""What goes to a judge and what comes back: prompts with their material, replies with their usage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple


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


@dataclass(frozen=True)
class RateLimits:
    """What an account may do in a minute, as the headers of an answer say; None where they are silent."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


TOP = 20
"""Tokens whose probabilities are asked for: the most that OpenAI and vLLM give."""


LEAST = 1e-6
"""Probabilities below this are left out."""


class Choice(NamedTuple):
    """What was said, and the probability of each token that could have stood there; None where the server gave none."""

    said: str
    probabilities: Mapping[str, float] | None


def fold(reply: Reply) -> Reply:
    """The reply with its probabilities within its text, as `unfold` reads it; one without them is returned as it is."""
    if reply.probabilities is None:
        return reply
    text = json.dumps({"said": reply.text, "probabilities": dict(reply.probabilities)}, ensure_ascii=False)
    return replace(reply, text=text, probabilities=None)


def unfold(text: str) -> Choice:
    """What `fold` put into a reply's text; any other text was said without probabilities."""
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if isinstance(kept, dict) and kept.keys() == {"said", "probabilities"} and isinstance(kept["probabilities"], dict):
        return Choice(str(kept["said"]), kept["probabilities"])
    return Choice(text, None)


def of_first_token(logprobs: Any) -> dict[str, float] | None:
    """Probabilities by token without its spaces, from the list of a reply's tokens in OpenAI's form; None where there is none.

    Each entry has `token`, `logprob` and `top_logprobs`, which may or may not hold the token itself.
    """
    if not isinstance(logprobs, list):
        return None
    first = logprobs[0] if logprobs and isinstance(logprobs[0], Mapping) else {}
    top = first.get("top_logprobs")
    seen = {str(entry["token"]): entry for entry in _entries([first, *(top if isinstance(top, list) else ())])}
    found: dict[str, float] = {}
    for token, entry in seen.items():
        probability = math.exp(min(0.0, float(entry["logprob"])))
        found[token.strip()] = found.get(token.strip(), 0.0) + probability
    return {token: round(p, 6) for token, p in found.items() if p >= LEAST}


def _entries(candidates: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    for entry in candidates:
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        if isinstance(value, int | float) and not math.isnan(value) and "token" in entry:
            yield entry
