"""Detection: told only the explanation, does the judge know in which windows the unit is active?

What differs from delphi 0.1.3, each for a defect seen in it: a window counts as silent only if the unit is at rest at every token
of it; windows of judging and explaining never share a document; a reply that lacks an item loses that item and no other, and a
last question of fewer than five is read like the rest; the figure is called balanced accuracy, which is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import harmless
from autointerp.scorers import yes_no_items
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import DATA_ONLY
from autointerp.scorers.yes_no_items import Item

SYSTEM = f"""\
An explanation says what a unit inside a language model responds to. Below it stand numbered texts. In some of them the unit is \
active at one place or several, in others it is at rest throughout; no place is marked.

Decide for each text whether it holds what the explanation speaks of. Judge every text by itself: any number of them may, from none \
to all. What is only near the topic does not count.

{DATA_ONLY}

Reply with a JSON object that gives each text's number true (the unit is active in it) or false."""


class Detection:
    """Which of these windows activate the unit?"""

    name = "detection"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's DetectionScorer"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("ask",)
    figures: Mapping[str, str] = yes_no_items.FIGURES
    chance: float | None = 0.5

    def items(self, case: Case) -> list[Item]:
        """Every judged window in which the unit is active and every one in which it is silent, shuffled, without a mark."""
        found = [Item(MarkedText(e.tokens, 0), True, True) for e in case.active if not yes_no_items.silent(e)]
        found += [Item(MarkedText(e.tokens, 0), False, False) for e in case.quiet if yes_no_items.silent(e)]
        yes_no_items.draw(case, self.name).shuffle(found)
        return found

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Five windows a question. None for a unit that is silent in no window: a dense neuron cannot be evaluated so."""
        return yes_no_items.ask(
            self.name, SYSTEM, case.explanation, self.items(case), lambda window: harmless(window.text)
        )

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Nothing: the subject has done its part."""
        return ()

    def score(self, case: Case, brought: Brought) -> Scores:
        """Figures of the answers. `accuracy` is what SAEBench's autointerp score is, over these windows rather than its 14."""
        return yes_no_items.scores(case.explanation, self.items(case), brought)
