"""Fuzzing: told only the explanation, does the judge know whether the right tokens of a window are marked?

delphi marks active windows rightly and silent ones anywhere, so that whoever tells the windows apart need not look at the marks; and
in 0.1.3 a wrong mark falls on one fixed place, by which alone 95.7% can be told. Here half of the wrong marks stand in active
windows, on tokens at rest, and every set of wrong marks is a set of right ones moved along: as many, as far apart, and at
places as different. `marks_alone` is the figure that no reader of the bare text can earn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import show
from autointerp.records import Exemplar
from autointerp.scorers import yes_no_items
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import DATA_ONLY
from autointerp.scorers.yes_no_items import Item
from autointerp.stats import answer_metrics

THRESHOLD = 0.3
"""Share of a window's largest activation from which on a token is marked, as in delphi. Weaker ones are marked neither rightly nor wrongly."""
SYSTEM = f"""\
An explanation says what a unit inside a language model responds to. Below it stand numbered texts, each with one or more places \
between << and >>. In some texts those are the places at which the unit is active; in others they were put elsewhere.

Decide for each text whether the marked places, and not merely the text around them, are what the explanation speaks of. Judge \
every text by itself: any number of them may be marked rightly, from none to all.

{DATA_ONLY}

Reply with a JSON object that gives each text's number true (marked rightly) or false."""


class Fuzzing:
    """Are the marks in these windows right?"""

    name = "fuzzing"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's FuzzingScorer, its default and active kinds together"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("ask",)
    figures: Mapping[str, str] = yes_no_items.FIGURES | {
        "marks_alone": "balanced accuracy within windows in which the unit is active: right marks against moved ones"
    }
    chance: float | None = 0.5

    def items(self, case: Case) -> list[Item]:
        """Every judged window once: active ones marked rightly and wrongly in turn through the bins, silent ones wrongly; shuffled."""
        rng = yes_no_items.draw(case, self.name)
        active = sorted(case.active, key=lambda e: e.bin)
        rng.shuffle(active)
        active.sort(key=lambda e: e.bin)
        patterns = [_right(e) for e in active]
        found = []
        for number, (exemplar, right) in enumerate(zip(active, patterns, strict=True)):
            marks = _moved(exemplar, right, rng) if number % 2 else ()
            found.append(Item(_marked(exemplar, marks or right), not marks, True))
        for exemplar in case.quiet:
            pattern = rng.choice(patterns) if patterns else ()
            if yes_no_items.silent(exemplar) and (marks := _moved(exemplar, pattern, rng)):
                found.append(Item(_marked(exemplar, marks), False, False))
        rng.shuffle(found)
        return found

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Five windows a question."""
        return yes_no_items.ask(self.name, SYSTEM, case.explanation, self.items(case), show)

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Nothing: the subject has done its part."""
        return ()

    def score(self, case: Case, brought: Brought) -> Scores:
        """Figures of the answers."""
        found = self.items(case)
        scores = yes_no_items.scores(case.explanation, found, brought)
        inside = [(item.truth, said) for item, said in yes_no_items.answered(found, brought) if item.active]
        alone = answer_metrics.balanced_accuracy([truth for truth, _ in inside], [said for _, said in inside])
        return scores._replace(values={**scores.values, "marks_alone": alone})


def _right(exemplar: Exemplar) -> tuple[int, ...]:
    """The tokens at which the unit is plainly active, and the exemplar's own."""
    least = THRESHOLD * max(exemplar.token_activations)
    strong = {i for i, a in enumerate(exemplar.token_activations) if a and a >= least and exemplar.tokens[i]}
    return tuple(sorted(strong | {exemplar.mark}))


def _moved(exemplar: Exemplar, pattern: Sequence[int], rng: random.Random) -> tuple[int, ...]:
    """A pattern of marks moved along to tokens at which the unit is at rest; failing that as many of them anywhere, or nothing."""
    resting = {
        i for i, (a, t) in enumerate(zip(exemplar.token_activations, exemplar.tokens, strict=True)) if not a and t
    }
    if not pattern or len(resting) < len(pattern):
        return ()
    length = len(exemplar.tokens)
    places = [tuple(i + by for i in pattern) for by in range(-max(pattern), length - min(pattern))]
    fitting = [moved for moved in places if resting.issuperset(moved)]
    return rng.choice(fitting) if fitting else tuple(sorted(rng.sample(sorted(resting), len(pattern))))


def _marked(exemplar: Exemplar, marks: tuple[int, ...]) -> MarkedText:
    return MarkedText(exemplar.tokens, marks[0], marks=marks)
