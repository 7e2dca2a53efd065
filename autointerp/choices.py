"""Answers of one token with the probabilities of all: read from a provider's tokens, and kept within the reply's text.

The ledger keeps the text of a reply and parsers read it, so the probabilities travel in it: what a resumed run reads is what
the first one read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from autointerp.judges.base import Reply

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
