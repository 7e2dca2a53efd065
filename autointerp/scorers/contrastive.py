"""Contrastive: the unit's strongest windows, and two texts more. In which of the two is it active?

It needs no explanation. What differs from the source: there a hundred pairs of sentences, alike but for one concept, were written
by hand and asked of all features; here both texts come from the corpus, one in which the unit is active and, of those in which it
is silent, the one that shares most words with it. No place of either is marked, for the marks would tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from autointerp.messages import TaskMaterial
from autointerp.prompts.untrusted_text import harmless
from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import DATA_ONLY, choice, group, marked, numbered, plain, text_of
from autointerp.scorers.window_choice import answers, evenly, strongest
from autointerp.scorers.yes_no_items import silent

SHOWN = 5
"""Windows that stand for the unit."""
MOST = 8
"""Questions a unit: no more than there are windows in which it is silent."""

SYSTEM = f"""
A group of texts is given in which one place each stands between << and >>; the marked places have something in common. Then come two texts more, number 1 and number 2, without marks. One of them holds what the marked places have in common, the other does not.

Say which of the two holds it.

{DATA_ONLY}

Answer with a short reason, and then the number of the text, 1 or 2.
""".strip()


class _Pair(NamedTuple):
    active: Exemplar
    silent: Exemplar


class Contrastive:
    """Which of two like texts activates the unit?"""

    name = "contrastive"
    source = "Interpretability Evals for Dictionary Learning, Circuits Updates August 2024, Contrastive Eval"
    needs_explanation = False
    steps: tuple[Literal["ask", "run"], ...] = ("ask",)
    figures: Mapping[str, str] = {
        "accuracy": "share of pairs in which the active text is found",
        "accuracy_weighted": "the same, pairs weighted by the activation",
    }
    chance: float | None = 0.5

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """None for a unit that is silent in no window."""
        return [self._question(case, number, pair) for number, pair in enumerate(_pairs(case))]

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Nothing: the subject has done its part."""
        return ()

    def score(self, case: Case, brought: Brought) -> Scores:
        """Accuracies over the pairs that got an answer."""
        pairs = _pairs(case)
        said = answers(brought, 0, len(pairs))
        hits = [
            (pair.active.activation, float(answer == 1 + _second(case, number)))
            for number, (pair, answer) in enumerate(zip(pairs, said, strict=True))
            if answer is not None
        ]
        weight = sum(activation for activation, _ in hits)
        values = {
            "accuracy": fmean(hit for _, hit in hits) if hits else None,
            "accuracy_weighted": sum(activation * hit for activation, hit in hits) / weight if weight else None,
        }
        return Scores(values, len(hits), said.count(None))

    def _question(self, case: Case, number: int, pair: _Pair) -> Question:
        shown = tuple(map(marked, strongest(case.active)[:SHOWN]))
        texts = list(map(text_of, pair))
        if _second(case, number):
            texts.reverse()
        user = f"{group(shown, 'activating')}\nThe two texts:\n{numbered(map(harmless, texts))}"
        return choice(SYSTEM, user, TaskMaterial(self.name, "", tuple(map(plain, texts)), (shown,)), 2)


def _pairs(case: Case) -> list[_Pair]:
    """Windows that are not shown, at even distances of strength, each with the likest silent one that is left."""
    left = [window for window in case.quiet if silent(window)]
    pairs = []
    for window in evenly(strongest(case.active)[SHOWN:], min(MOST, len(left))):
        words = _words(window)
        likest = max(left, key=lambda other: (_alike(words, _words(other)), other.exemplar_id))
        left.remove(likest)
        pairs.append(_Pair(window, likest))
    return pairs


def _words(window: Exemplar) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text_of(window).casefold()))


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of common words."""
    return len(one & other) / max(1, len(one | other))


def _second(case: Case, number: int) -> bool:
    """Whether the active text is number 2: in every other question."""
    return bool((case.seed + number) % 2)
