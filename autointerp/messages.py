"""Prompts sent to a judge, the material they are rendered from, and its replies with their token usage."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True)
class MarkedText:
    """A window of text around one marked token.

    `tokens` are strings whose concatenation is the window's text; `mark` is the index of the token under judgement.
    """

    tokens: tuple[str, ...]
    mark: int
    activation_levels: tuple[int, ...] = ()
    """Each token's activation in tenths of the unit's maximum, 0 to 10. Shown to explainers only; empty for a scoring judge."""
    marks: tuple[int, ...] = ()
    """Indices of all marked tokens in ascending order if there are several; `mark` is then one of them."""

    @property
    def text(self) -> str:
        """The window as plain text, without a mark."""
        return "".join(self.tokens)


@dataclass(frozen=True)
class ExplainMaterial:
    """The evidence about one unit that an explainer is shown."""

    activating: tuple[MarkedText, ...]
    """Windows in which the unit is active at the mark, strongest first."""
    silent: tuple[MarkedText, ...]
    """Windows in which the unit is not active."""
    contrast: tuple[MarkedText, ...] = ()
    """Windows in which the unit is silent at the mark, although the marked word also occurs in activating windows."""
    neighbours: tuple[MarkedText, ...] = ()
    """Windows in which a unit of nearly the same direction is active at the mark and this one is not."""
    raised: tuple[str, ...] = ()
    """Tokens whose logits the unit's direction raises most."""
    lowered: tuple[str, ...] = ()
    """Tokens whose logits it lowers most."""
    draft: str = ""
    """An explanation to be revised."""
    missed: tuple[MarkedText, ...] = ()
    """Windows in which the unit is active at the mark but the draft does not cover it."""
    mistaken: tuple[MarkedText, ...] = ()
    """Windows in which the draft covers the mark but the unit is silent."""


@dataclass(frozen=True)
class ScoreMaterial:
    """An explanation and one marked window, as a scoring judge sees them: no activation, bin, kind or arm."""

    explanation: str
    window: MarkedText


@dataclass(frozen=True)
class GroupMaterial:
    """Several items in one question, each judged independently."""

    items: tuple[ScoreMaterial, ...]


@dataclass(frozen=True)
class TaskMaterial:
    """The windows of a scorer's question. `task` is the scorer's name for what is asked about them."""

    task: str
    explanation: str
    windows: tuple[MarkedText, ...]
    sets: tuple[tuple[MarkedText, ...], ...] = ()
    """Reference groups of windows that `windows` are compared with."""


Material = ExplainMaterial | ScoreMaterial | GroupMaterial | TaskMaterial


@dataclass(frozen=True)
class Prompt:
    """One question to a judge.

    `system` is the same for every question of a kind, so that providers can cache it; `user` holds the case. `schema` is the JSON
    schema that the reply must satisfy. `material` is what `user` was rendered from, for judges that do not read prose, such as
    `embedded`: it holds nothing that `user` does not show.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    max_tokens: int
    material: Material
    choices: tuple[str, ...] = ()
    """One-token answers whose probabilities are requested with the reply, if the server can return them."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as the provider counted them. The four classes are disjoint: `input_tokens` excludes cached ones.

    `known` is False if the server reported no usage: the counts are then 0, and the cost of the call is unknown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    known: bool = True


@dataclass(frozen=True)
class Reply:
    """A judge's reply: its text, why it ended, and its token usage.

    `stop` is `complete`, `truncated` (the token limit was reached) or `refusal`; only a complete reply is parsed.
    """

    text: str
    stop: Literal["complete", "truncated", "refusal"]
    usage: Usage
    served_model: str
    request_id: str | None = None
    limits: RateLimits | None = None
    """The account's rate limits according to the response headers."""
    probabilities: Mapping[str, float] | None = None
    """Probabilities of the reply's first token, as far as the server returned them; not normalised."""


@dataclass(frozen=True)
class RateLimits:
    """An account's limits per minute as response headers report them; None for a limit that they leave out."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


MAX_TOP_LOGPROBS = 20
"""Number of tokens whose probabilities are requested: the maximum at OpenAI and vLLM."""

MIN_PROBABILITY = 1e-6
"""Probabilities below this are left out."""


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text with null characters and lone surrogates, which no database stores, as replacement characters."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class Choice(NamedTuple):
    """A reply's text, and the probability of each token that could have been its first; None if the server returned none."""

    text: str
    probabilities: Mapping[str, float] | None


def pack_probabilities(reply: Reply) -> Reply:
    """Move a reply's probabilities into its text as JSON, because the ledger stores only the text. Without any, return it unchanged."""
    if reply.probabilities is None:
        return reply
    text = json.dumps({"said": reply.text, "probabilities": dict(reply.probabilities)}, ensure_ascii=False)
    return replace(reply, text=text, probabilities=None)


def unpack_probabilities(text: str) -> Choice:
    """Reverse `pack_probabilities`. Any other text is returned as it is, with None for the probabilities."""
    try:
        packed = json.loads(text)
    except (ValueError, RecursionError):
        packed = None
    if (
        isinstance(packed, dict)
        and packed.keys() == {"said", "probabilities"}
        and isinstance(packed["probabilities"], dict)
    ):
        return Choice(str(packed["said"]), packed["probabilities"])
    return Choice(text, None)


def first_token_probabilities(logprobs: Any) -> dict[str, float] | None:
    """Probabilities of a reply's first token, from OpenAI's list of token entries; None if `logprobs` is not a list.

    Each entry has `token`, `logprob` and `top_logprobs`, which may or may not contain the token itself. Tokens that differ only in
    surrounding whitespace are added up.
    """
    if not isinstance(logprobs, list):
        return None
    first = logprobs[0] if logprobs and isinstance(logprobs[0], Mapping) else {}
    top = first.get("top_logprobs")
    entries = {clean_text(e["token"]): e for e in _valid_entries([first, *(top if isinstance(top, list) else ())])}
    probabilities: dict[str, float] = {}
    for token, entry in entries.items():
        probability = math.exp(max(-1000.0, min(0.0, entry["logprob"])))
        probabilities[token.strip()] = probabilities.get(token.strip(), 0.0) + probability
    return {token: round(p, 6) for token, p in probabilities.items() if p >= MIN_PROBABILITY}


def _valid_entries(candidates: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    """The entries that have a token and a log-probability that is a number."""
    for entry in candidates:
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        is_number = isinstance(value, int | float) and value == value  # NaN differs from itself
        if is_number and isinstance(entry.get("token"), str):
            yield entry
