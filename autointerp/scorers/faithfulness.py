"""Faithfulness: the subject goes on from ordinary texts while the unit is held at several strengths. Does what it says become the concept?

FADE's definition: the largest share of continuations rated 2 at any strength, above the share at strength 0, out of what was left
to gain. Mended here: the largest of several noisy shares is too large, and more so the fewer texts, so the figure that is compared
chooses the strength on one half of the texts and measures on the other, both ways, FADE's own standing beside it; where all
continuations express the concept at strength 0 it is undefined, not a division by zero. What differs: neurons are held at multiples
of their maximum, as features are (`sae.steering`), which FADE multiplies; every unit is evaluated, not only those of clarity
and responsiveness of 0.5; ten texts a strength instead of 50.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import ratings, spread_out, text_of
from autointerp.scorers.window_choice import answers, of_others
from autointerp.scorers.yes_no_items import draw

FACTORS = (-50.0, -10.0, -1.0, 0.0, 1.0, 10.0, 50.0)
"""FADE's, in multiples of the unit's largest activation."""
TEXTS, TOKENS = 10, 30
"""Texts that are gone on from at each strength, and tokens that are added."""
PER_CALL = 10

Rated = Mapping[float, Sequence[int | None]]
"""At each factor the rating of each text's continuation, None where there is none."""


class Faithfulness:
    """Does the unit make the subject say what its explanation says?"""

    name = "faithfulness"
    source = "FADE, 2025 (arXiv 2502.16994), faithfulness; fade-language 0.1.2"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("run", "ask")
    figures: Mapping[str, str] = {
        "faithfulness": "gain in continuations rated 2, out of what was left to gain, at the strength that other texts chose",
        "faithfulness_fade": "the same at the strength that does best on these very texts, as FADE has it: too large by chance",
        "best_factor": "that strength, in multiples of the unit's maximum: no merit, but what it takes",
    }
    chance: float | None = 0.0

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Every text at every strength."""
        texts = self._texts(case) if case.explanation else []
        return [Steer(text, factor, TOKENS) for factor in FACTORS for text in texts]

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Ten continuations a question, of all strengths mixed."""
        return ratings(case.explanation, [text for _, text in self._said(case, brought)], PER_CALL)

    def score(self, case: Case, brought: Brought) -> Scores:
        """Figures over the continuations that were rated."""
        work, said = self.work(case, 0, ()), self._said(case, brought)
        rated = spread_out(answers(brought, 1, -(-len(said) // PER_CALL)), len(said), PER_CALL)
        by_place: dict[int, int | None] = {place: rating for (place, _), rating in zip(said, rated, strict=True)}
        n = len(work) // len(FACTORS)
        table = {f: [by_place.get(i * n + text) for text in range(n)] for i, f in enumerate(FACTORS)}
        found = sum(rating is not None for rating in by_place.values())
        return Scores(figures_of(table), found, len(work) - found)

    def _said(self, case: Case, brought: Brought) -> list[tuple[int, str]]:
        """The continuations in a mixed order, each with its place in the work."""
        known = [(place, text) for place, text in enumerate(answers(brought, 0, len(self.work(case, 0, ())))) if text]
        draw(case, self.name).shuffle(known)
        return known

    def _texts(self, case: Case) -> list[str]:
        """Windows of other units: ordinary text as far as this unit goes."""
        texts = (text_of(window) for window in of_others(case, 2 * TEXTS, self.name))
        return list(dict.fromkeys(text for text in texts if text.strip()))[:TEXTS]


def figures_of(rated: Rated) -> dict[str, float | None]:
    """All figures, from the ratings at each factor; `rated` holds factor 0."""
    base, best = _share(rated[0.0]), _best(rated)
    if base is None or base == 1 or best is None:
        return {"faithfulness": None, "faithfulness_fade": None, "best_factor": None}
    halves = [{factor: row[part::2] for factor, row in rated.items()} for part in (0, 1)]
    chosen = reversed([_best(half) for half in halves])
    gains = [gain for half, factor in zip(halves, chosen, strict=True) if (gain := _gain(half, factor)) is not None]
    theirs = _gain(rated, best) or 0.0
    return {
        "faithfulness": fmean(gains) / (1 - base) if gains else None,
        "faithfulness_fade": theirs / (1 - base),
        "best_factor": best if theirs > 0 else None,
    }


def _best(rated: Rated) -> float | None:
    """The factor at which most continuations are rated 2, the least strong of several; None where none is rated."""
    shares = {factor: share for factor, row in rated.items() if (share := _share(row)) is not None}
    return max(shares, key=lambda factor: (shares[factor], -abs(factor), factor), default=None)


def _gain(rated: Rated, factor: float | None) -> float | None:
    """By how much the share of 2 is larger at `factor` than at 0; None where either is not known."""
    base, share = _share(rated[0.0]), None if factor is None else _share(rated[factor])
    return None if base is None or share is None else share - base


def _share(row: Sequence[int | None]) -> float | None:
    """The share of 2 among ratings."""
    known = [rating == 2 for rating in row if rating is not None]
    return fmean(known) if known else None
