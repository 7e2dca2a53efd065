"""Planted units: synthetic ones that answer to words everybody can name, so what they mean is known for certain.

Each is a pattern and the explanation that a careful explainer would give of it. Their windows come from the run's own corpus. A judge
that does not tell a planted unit's hits from its misses cannot be believed about others: they are the ceiling of what can be scored, and
show the judge's own errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.corpus.corpus import Corpus
from sae.harvest.exemplars import EXEMPLAR_COLUMNS, HISTOGRAM_BINS

HITS, NEAR = 6, 3
"""Windows of a planted unit with the mark on what it answers to, and with the mark a few words beside."""
FAR = 8
"""Tokens within which a mark is beside."""
MOST_CONTEXTS = 4096
"""Contexts that are looked through at most."""
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class Planted:
    """What a unit answers to: tokens whose whole text, without spaces, matches `pattern`."""

    name: str
    explanation: str
    pattern: str

    def hits(self, token: str) -> bool:
        return re.fullmatch(self.pattern, token.strip(), re.IGNORECASE) is not None


def _words(text: str) -> str:
    return "|".join(text.split())


PLANTED = (
    Planted(
        "colours",
        "names of colours, such as red, blue and green",
        _words("red blue green yellow white black brown grey gray pink purple golden silver orange crimson scarlet"),
    ),
    Planted(
        "family",
        "members of a family, such as mother, brother and aunt",
        _words(
            "mother father brother sister son daughter uncle aunt cousin wife husband mom dad grandmother grandfather"
        ),
    ),
    Planted("digits", "numbers written in digits", r"\d+"),
    Planted(
        "numbers",
        "numbers written as words, such as three or twenty",
        _words(
            "two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred thousand million"
        ),
    ),
    Planted(
        "body",
        "parts of the body, such as hand, head and knees",
        _words(
            "head hand hands arm arms leg legs eye eyes ear ears nose mouth foot feet knee knees finger fingers heart neck"
        ),
    ),
    Planted(
        "negation",
        "words of negation: not, never, nothing, nobody",
        _words("not never nothing nobody none neither nor without cannot"),
    ),
    Planted(
        "questions",
        "question words: who, why, where, how",
        _words("who whom whose why where how"),
    ),
    Planted(
        "time",
        "words for stretches of time, such as day, week and year",
        _words("second seconds minute minutes hour hours day days week weeks month months year years century decade"),
    ),
    Planted(
        "modals",
        "modal verbs of possibility or duty: could, should, might, must",
        _words("could should might must would may"),
    ),
    Planted(
        "places",
        "places and buildings where people live, such as house, village and city",
        _words("house houses home village town city street castle palace room cottage school church"),
    ),
    Planted(
        "brackets",
        "opening or closing brackets and parentheses",
        r"[()\[\]{}]+[.,;:]?",
    ),
    Planted(
        "quotes",
        "quotation marks that open or close speech",
        '[.,!?]?["\u201c\u201d]+',
    ),
    Planted(
        "speech",
        "verbs of speaking, such as said, asked and cried",
        _words("said say says asked replied answered cried shouted whispered told tell exclaimed"),
    ),
    Planted(
        "water",
        "waters and things of the water, such as sea, river and ship",
        _words("sea river water lake ocean rain ship boat waves island shore"),
    ),
    Planted(
        "animals",
        "animals, such as dog, horse and bird",
        _words("dog dogs cat cats horse horses bird birds fish wolf bear lion sheep cow mouse rabbit fox snake frog"),
    ),
    Planted(
        "conditions",
        "words that open a condition or a contrast: if, unless, although, however",
        _words("if unless although though however whereas otherwise"),
    ),
    Planted(
        "code",
        "keywords of programming languages, such as return, import and def",
        _words("def return import class else elif self None True False int void static public const function var"),
    ),
)
"""In the order in which they are tried; those of which a corpus holds too little are passed over."""


def plant(
    corpus: Corpus,
    texts: Callable[[np.ndarray], list[str]],
    *,
    n: int,
    quiet: int,
    window: int,
    bins: int,
    seed: int,
    candidates: Sequence[Planted] = PLANTED,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Up to `n` planted units and their exemplars, in the columns of a harvest's tables; `given` holds the explanation.

    A hit has role `score` and the top bin; `near` has the mark at another word close by; `quiet` windows hold nothing that matches.
    At most one window a document and unit. `texts` turns token ids into one string a token.
    """
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(corpus.contexts))[:MOST_CONTEXTS]
    found: dict[str, dict[str, list[dict[str, object]]]] = {
        planted.name: {"score": [], "near": [], "quiet": []} for planted in candidates
    }
    events, seen, wanted = dict.fromkeys(found, 0), 0, {"score": HITS, "near": NEAR, "quiet": quiet}
    for row in order:
        context = corpus.contexts[row]
        first, length = int(context["offset"]), int(context["length"])
        tokens = texts(np.asarray(corpus.tokens[first : first + length]))
        seen += length
        for number, planted in enumerate(candidates):
            hot = np.array([planted.hits(token) for token in tokens])
            events[planted.name] += int(hot.sum())
            for role, mark in _marks(tokens, hot, rng):
                kept = found[planted.name][role]
                if len(kept) < wanted[role]:
                    kept.append(_row(number, role, context, tokens, hot, mark, window, bins, rng))
        complete = [name for name, roles in found.items() if all(len(roles[r]) == wanted[r] for r in roles)]
        if len(complete) >= n and [c.name for c in candidates][: len(complete)] == complete[: len(complete)]:
            break
    chosen = [(i, p) for i, p in enumerate(candidates) if len(found[p.name]["score"]) == HITS][:n]
    units = [_unit(number, planted, events[planted.name], seen, bins) for number, planted in chosen]
    rows = [row for _, planted in chosen for role in wanted for row in found[planted.name][role]]
    return pd.DataFrame(units), pd.DataFrame(rows, columns=None if rows else EXEMPLAR_COLUMNS)


def _marks(tokens: Sequence[str], hot: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """A role that a context can serve, and where its mark stands: one on a hit, one a few words beside, or one in a silent text."""
    words = np.array([_WORD.fullmatch(token.strip()) is not None for token in tokens])
    if not hot.any():
        silent = np.flatnonzero(words)
        if len(silent):
            yield "quiet", int(rng.choice(silent))
        return
    distance = np.abs(np.arange(len(tokens))[:, None] - np.flatnonzero(hot)[None, :]).min(axis=1)
    beside = np.flatnonzero(words & (distance >= 2) & (distance <= FAR))
    if len(beside) and rng.random() < 0.5:
        yield "near", int(rng.choice(beside))
    else:
        yield "score", int(rng.choice(np.flatnonzero(hot)))


def _row(
    number: int,
    role: str,
    context: np.void,
    tokens: Sequence[str],
    hot: np.ndarray,
    mark: int,
    window: int,
    bins: int,
    rng: np.random.Generator,
) -> dict[str, object]:
    size = min(window, len(tokens))
    start = int(np.clip(mark - rng.integers(size), 0, len(tokens) - size))
    part = slice(start, start + size)
    active = role == "score"
    position = int(context["position"]) + mark
    return {
        "exemplar_id": f"planted-{number}@{int(context['document'])}.{position}",
        "unit_id": f"planted-{number}",
        "role": role,
        "document": int(context["document"]),
        "position": position,
        "activation": float(active),
        "activation_fraction": float(active),
        "bin": bins if active else 0,
        "inclusion_probability": math.nan,
        "mark": mark - start,
        "tokens": list(tokens[part]),
        "token_activations": hot[part].astype(np.float64).tolist(),
    }


def _unit(number: int, planted: Planted, events: int, tokens: int, bins: int) -> dict[str, object]:
    return {
        "unit_id": f"planted-{number}",
        "kind": "planted",
        "index": number,
        "sign": "",
        "hook_point": "",
        "max_activation": 1.0,
        "density": events / max(tokens, 1),
        "status": "alive",
        "n_events": events,
        "bin_events": [0] * (bins - 1) + [events],
        "histogram": [0] * (HISTOGRAM_BINS - 1) + [events],
        "given": planted.explanation,
    }
