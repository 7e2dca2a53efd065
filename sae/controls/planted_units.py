"""Planted units: synthetic units that respond to well-known groups of words, so that their true explanations are known.

Each is a pattern and the explanation that a careful explainer would give. Their windows come from the run's own corpus. They are the
ceiling of what can be scored and show the judge's own errors: a judge that does not separate a planted unit's hits from its misses
is not reliable for other units either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.corpus.corpus import Corpus
from sae.harvest.bins import bin_of
from sae.harvest.columns import EXEMPLAR_COLUMNS, HISTOGRAM_BINS, ExemplarRow, UnitRow
from sae.harvest.silent_windows import alike

HITS, NEAR = 6, 3
"""Windows of a planted unit whose mark is on a matching token, and windows whose mark is a few words away from one."""
QUIET_POOL = 8
"""Silent windows among which each that is needed is chosen."""
FAR = 8
"""Largest distance in tokens between the mark of a `near` window and a matching token."""
MAX_CONTEXTS = 4096
"""Contexts that are searched at most."""
_WORD = re.compile(r"[A-Za-z]{2,}")


class PlantedRow(UnitRow):
    """A planted unit, a row of its table."""

    given: str
    """The true explanation."""


@dataclass(frozen=True)
class PlantedUnit:
    """A synthetic unit that is active at tokens whose whole text, without spaces, matches `pattern`."""

    name: str
    explanation: str
    pattern: str

    def is_active(self, token: str) -> bool:
        return re.fullmatch(self.pattern, token.strip(), re.IGNORECASE) is not None


def _words(text: str) -> str:
    return "|".join(text.split())


PLANTED = (
    PlantedUnit(
        "colours",
        "names of colours, such as red, blue and green",
        _words("red blue green yellow white black brown grey gray pink purple golden silver orange crimson scarlet"),
    ),
    PlantedUnit(
        "family",
        "members of a family, such as mother, brother and aunt",
        _words(
            "mother father brother sister son daughter uncle aunt cousin wife husband mom dad grandmother grandfather"
        ),
    ),
    PlantedUnit("digits", "numbers written in digits", r"\d+"),
    PlantedUnit(
        "numbers",
        "numbers written as words, such as three or twenty",
        _words(
            "two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred thousand million"
        ),
    ),
    PlantedUnit(
        "body",
        "parts of the body, such as hand, head and knees",
        _words(
            "head hand hands arm arms leg legs eye eyes ear ears nose mouth foot feet knee knees finger fingers heart neck"
        ),
    ),
    PlantedUnit(
        "negation",
        "words of negation: not, never, nothing, nobody",
        _words("not never nothing nobody none neither nor without cannot"),
    ),
    PlantedUnit(
        "questions",
        "question words: who, why, where, how",
        _words("who whom whose why where how"),
    ),
    PlantedUnit(
        "time",
        "words for stretches of time, such as day, week and year",
        _words("second seconds minute minutes hour hours day days week weeks month months year years century decade"),
    ),
    PlantedUnit(
        "modals",
        "modal verbs of possibility or duty: could, should, might, must",
        _words("could should might must would may"),
    ),
    PlantedUnit(
        "places",
        "places and buildings where people live, such as house, village and city",
        _words("house houses home village town city street castle palace room cottage school church"),
    ),
    PlantedUnit(
        "brackets",
        "opening or closing brackets and parentheses",
        r"[()\[\]{}]+[.,;:]?",
    ),
    PlantedUnit(
        "quotes",
        "quotation marks that open or close speech",
        '[.,!?]?["\u201c\u201d]+',
    ),
    PlantedUnit(
        "speech",
        "verbs of speaking, such as said, asked and cried",
        _words("said say says asked replied answered cried shouted whispered told tell exclaimed"),
    ),
    PlantedUnit(
        "water",
        "waters and things of the water, such as sea, river and ship",
        _words("sea river water lake ocean rain ship boat waves island shore"),
    ),
    PlantedUnit(
        "animals",
        "animals, such as dog, horse and bird",
        _words("dog dogs cat cats horse horses bird birds fish wolf bear lion sheep cow mouse rabbit fox snake frog"),
    ),
    PlantedUnit(
        "conditions",
        "words that open a condition or a contrast: if, unless, although, however",
        _words("if unless although though however whereas otherwise"),
    ),
    PlantedUnit(
        "code",
        "keywords of programming languages, such as return, import and def",
        _words("def return import class else elif self None True False int void static public const function var"),
    ),
)
"""In the order in which they are tried; those that are too rare in a corpus are left out."""


def plant_units(
    corpus: Corpus,
    texts: Callable[[np.ndarray], list[str]],
    *,
    n: int,
    silent: int,
    window: int,
    bins: int,
    seed: int,
    candidates: Sequence[PlantedUnit] = PLANTED,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Up to `n` planted units, with their explanations as `given`, and their exemplars: tables like those of a harvest.

    A window of role `score` is marked at a matching token, has activation 1 and the top bin; a `near` one is marked at another word
    close by; the `silent` windows of role `quiet` contain no matching token. No unit has two windows from one context. `texts`
    turns token ids into one string per token.
    """
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(corpus.contexts))[:MAX_CONTEXTS]
    windows: dict[str, dict[str, list[ExemplarRow]]] = {
        planted.name: {"score": [], "near": [], "quiet": []} for planted in candidates
    }
    needed = {"score": HITS, "near": NEAR, "quiet": silent}
    n_events, n_tokens = dict.fromkeys(windows, 0), 0
    for row in order:
        context = corpus.contexts[row]
        first, length = int(context["offset"]), int(context["length"])
        tokens = texts(np.asarray(corpus.tokens[first : first + length]))
        n_tokens += length
        for number, planted in enumerate(candidates):
            active = np.array([planted.is_active(token) for token in tokens])
            n_events[planted.name] += int(active.sum())
            for role, mark in _marks(tokens, active, rng):
                kept = windows[planted.name][role]
                if len(kept) < needed[role] * (QUIET_POOL if role == "quiet" else 1):
                    turn = corpus.turn_at(first + mark)
                    kept.append(_exemplar(number, role, context, turn, tokens, active, mark, window, bins, rng))
        complete = [name for name, roles in windows.items() if all(len(roles[r]) >= needed[r] for r in roles)]
        if len(complete) >= n and [c.name for c in candidates][: len(complete)] == complete[: len(complete)]:
            break
    for roles in windows.values():
        roles["quiet"] = _as_long(roles["score"], roles["quiet"], silent)
    chosen = [(i, p) for i, p in enumerate(candidates) if len(windows[p.name]["score"]) == HITS][:n]
    units = [_unit(number, planted, n_events[planted.name], n_tokens, bins) for number, planted in chosen]
    exemplars = [row for _, planted in chosen for role in needed for row in windows[planted.name][role]]
    return pd.DataFrame(units), pd.DataFrame(exemplars, columns=None if exemplars else EXEMPLAR_COLUMNS)


def _as_long(hits: Sequence[ExemplarRow], quiet: Sequence[ExemplarRow], n: int) -> list[ExemplarRow]:
    """Those of the silent windows that are like the hits in length and in the place of the mark: contexts without a word are short."""
    judged, candidates = (
        np.array([(len(w["tokens"]), w["mark"]) for w in part], dtype=np.int64).reshape(-1, 2) for part in (hits, quiet)
    )
    return [quiet[i] for i in alike(judged, candidates, np.zeros(len(quiet), dtype=np.int64), n)]


def _marks(tokens: Sequence[str], active: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """The role that a context can serve, and the index of its mark; nothing for a context without a word."""
    words = np.array([_WORD.fullmatch(token.strip()) is not None for token in tokens])
    if not active.any():
        silent = np.flatnonzero(words)
        if len(silent):
            yield "quiet", int(rng.choice(silent))
        return
    distance = np.abs(np.arange(len(tokens))[:, None] - np.flatnonzero(active)[None, :]).min(axis=1)
    near = np.flatnonzero(words & (distance >= 2) & (distance <= FAR))
    if len(near) and rng.random() < 0.5:
        yield "near", int(rng.choice(near))
    else:
        yield "score", int(rng.choice(np.flatnonzero(active)))


def _exemplar(
    number: int,
    role: str,
    context: np.void,
    turn: str | None,
    tokens: Sequence[str],
    active: np.ndarray,
    mark: int,
    window: int,
    bins: int,
    rng: np.random.Generator,
) -> ExemplarRow:
    size = min(window, len(tokens))
    start = int(np.clip(mark - rng.integers(size), 0, len(tokens) - size))
    part = slice(start, start + size)
    activation = float(role == "score")
    position = int(context["position"]) + mark
    return {
        "exemplar_id": f"planted-{number}@{int(context['document'])}.{position}",
        "unit_id": f"planted-{number}",
        "role": role,
        "document": int(context["document"]),
        "position": position,
        "turn": turn,
        "activation": activation,
        "activation_fraction": activation,
        "bin": int(bin_of(activation, 1.0, bins)),
        "inclusion_probability": math.nan,
        "rarity_low": math.nan,
        "rarity_high": math.nan,
        "mark": mark - start,
        "tokens": list(tokens[part]),
        "token_activations": active[part].astype(np.float64).tolist(),
        "counted": [True] * size,
    }


def _unit(number: int, planted: PlantedUnit, n_events: int, n_tokens: int, bins: int) -> PlantedRow:
    return {
        "unit_id": f"planted-{number}",
        "kind": "planted",
        "index": number,
        "sign": "",
        "hook_point": "",
        "max_activation": 1.0,
        "density": n_events / max(n_tokens, 1),
        "status": "alive",
        "n_events": n_events,
        "bin_events": [0] * (bins - 1) + [n_events],
        "judging_bin_events": [0] * (bins - 1) + [n_events],
        "histogram": [0] * (HISTOGRAM_BINS - 1) + [n_events],
        "given": planted.explanation,
    }
