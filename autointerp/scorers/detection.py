"""Detection: given only the explanation, can the judge tell in which windows the unit is active?

What differs from delphi 0.1.3, each for a defect found in it: a window counts as silent only if the unit is silent at every token
of it; windows for judging and explaining never share a document; a reply that leaves out an item is asked for again, and a
last question of fewer than five items is read like the others; and the figure is called balanced accuracy, which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import sanitise
from autointerp.scorers import yes_no_items
from autointerp.scorers.base import Case, Question, Scorer, Scores, Shape, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY
from autointerp.scorers.equal_lengths import matched
from autointerp.scorers.yes_no_items import Item, told_apart

SYSTEM = f"""\
An explanation says what a unit inside a language model responds to. Below it stand numbered texts. In some of them the unit is \
active at one place or several, in others it is at rest throughout; no place is marked.

Decide for each text whether it holds what the explanation speaks of. Judge every text by itself: any number of them may, from none \
to all. What is only near the topic does not count.

{DATA_ONLY}

Reply with a JSON object that gives each text's number true (the unit is active in it) or false."""


class Detection(Scorer):
    """Asks which windows activate the unit."""

    name = "detection"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's DetectionScorer"
    needs_explanation = True
    figures: ClassVar[Mapping[str, str]] = yes_no_items.FIGURES
    chance = 0.5

    def items(self, case: Case) -> list[Item]:
        """Judged windows in which the unit is active and those in which it is silent throughout, equally long, shuffled, without marks."""
        active, silent = matched(*told_apart(case))
        items = [Item(MarkedText(e.tokens, 0), True, True) for e in active]
        items += [Item(MarkedText(e.tokens, 0), False, False) for e in silent]
        case.rng(self.name).shuffle(items)
        return items

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Five windows per question. None for a unit without a silent window, such as a dense neuron."""
        items = self.items(case)
        return yes_no_items.questions(self.name, SYSTEM, case.explanation, items, lambda window: sanitise(window.text))

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """Active windows against silent ones, without marks."""
        return [Shape.of(item.truth, item.window, marked=False) for item in self.items(case)]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Figures of the answers. `accuracy` is SAEBench's autointerp score, over these windows instead of its 14."""
        return yes_no_items.scores(case.explanation, self.items(case), answers, yes_no_items.one_class_only(case))
