"""Contrastive: given the unit's strongest windows, in which of two further texts is the unit active?

No explanation is needed. What differs from the source: there, a hundred pairs of sentences that differ in one concept were written by
hand and used for all features, which `written_contrast` does. Here both texts come from the corpus: one in which the unit is active and,
of those in which it is silent, the one that shares most words with it. Neither text has a mark, because the mark would give the answer
away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from autointerp.messages import TaskMaterial
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, Shape, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY, choice, numbered, numbered_windows, unmarked
from autointerp.scorers.equal_lengths import comparable, matched
from autointerp.scorers.pairwise import MOST, SHOWN, Pair, Pairwise
from autointerp.scorers.window_choice import evenly_spaced, strongest_first
from autointerp.scorers.yes_no_items import is_silent, one_class_only

SYSTEM = f"""
A group of texts is given in which one place each stands between << and >>; the marked places have something in common. Then come two \
texts more, number 1 and number 2, without marks. One of them holds what the marked places have in common, the other does not.

Say which of the two holds it.

{DATA_ONLY}

Answer with a short reason, and then the number of the text, 1 or 2.
""".strip()


class Contrastive(Pairwise):
    """Asks which of two similar texts activates the unit."""

    name = "contrastive"
    source = "Interpretability Evals for Dictionary Learning, Circuits Updates August 2024, Contrastive Eval"
    figures: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of pairs in which the judge finds the active text",
        "accuracy_weighted": "the same, pairs weighted by the activation in the active text",
    }

    def pairs(self, case: Case) -> list[Pair]:
        """Evenly spaced windows below the strongest, each with the most similar silent window that is still unused, equally long."""
        unused = [window for window in case.silent if is_silent(window)]
        pairs = []
        for window in evenly_spaced(strongest_first(case.active)[SHOWN:], min(MOST, len(unused))):
            words = _words(window)
            candidates = [other for other in unused if comparable(window, other)]
            foil = max(
                candidates, key=lambda other: (_similarity(words, _words(other)), other.exemplar_id), default=None
            )
            if foil is not None:
                unused.remove(foil)
                pair = matched([window], [foil])
                pairs.append(Pair(pair.active[0], (pair.silent[0],)))
        return pairs

    def not_asked(self, case: Case) -> str:
        """Too few windows, or none in which the unit is silent."""
        if len(case.active) <= SHOWN:
            return f"fewer than {SHOWN + 1} judged windows"
        return one_class_only(case)

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """The active text of each pair against the silent one, without marks."""
        texts = [
            (truth, window)
            for pair in self.pairs(case)
            for truth, window in ((True, pair.window), (False, pair.foil[0]))
        ]
        return [Shape.of(truth, window.marked_text, marked=False) for truth, window in texts]

    def question(self, case: Case, pair: Pair, swapped: bool) -> Question:
        """The unit's strongest windows with marks, then the two texts without."""
        return two_texts(case, self.name, [pair.window.text, pair.foil[0].text], swapped)


def two_texts(case: Case, task: str, texts: Sequence[str], swapped: bool) -> Question:
    """Ask which of two texts activates the unit. The first is its own; it is shown as number 2 if `swapped`."""
    shown = tuple(window.marked_text for window in strongest_first(case.active)[:SHOWN])
    ordered = list(reversed(texts)) if swapped else list(texts)
    user = f"{numbered_windows(shown, 'activating')}\nThe two texts:\n{numbered(map(sanitise, ordered))}"
    return choice(SYSTEM, user, TaskMaterial(task, "", tuple(map(unmarked, ordered)), (shown,)), 2)


def _words(window: Exemplar) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", window.text.casefold()))


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity of two sets of words."""
    return len(one & other) / max(1, len(one | other))
