"""Fuzzing: given only the explanation, can the judge tell whether the right tokens of a window are marked?

delphi marks the right tokens of active windows and arbitrary tokens of silent ones, so that a judge which tells the windows apart need not
look at the marks; and in 0.1.3 a wrong mark falls on one fixed position, by which alone 95.7% of the answers can be guessed. Here half
of the wrong marks are in active windows, on tokens at which the unit is silent, and every set of wrong marks is a shifted set of right
ones: as many, with the same distances, at equally varied positions. `marks_alone` is the figure that cannot be earned without the marks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import render_window
from autointerp.records import Exemplar
from autointerp.scorers import yes_no_items
from autointerp.scorers.base import Case, Question, Scorer, Scores, Shape, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY
from autointerp.scorers.equal_lengths import Matched, matched
from autointerp.scorers.yes_no_items import Item, is_silent
from autointerp.stats import answer_metrics

THRESHOLD = 0.3
"""Share of a window's largest activation from which a token is marked, as in delphi. Weaker ones get neither right nor wrong marks."""
SYSTEM = f"""\
An explanation says what a unit inside a language model responds to. Below it stand numbered texts, each with one or more places \
between << and >>. In some texts those are the places at which the unit is active; in others they were put elsewhere.

Decide for each text whether the marked places, and not merely the text around them, are what the explanation speaks of. Judge \
every text by itself: any number of them may be marked rightly, from none to all.

{DATA_ONLY}

Reply with a JSON object that gives each text's number true (marked rightly) or false."""


class Fuzzing(Scorer):
    """Asks whether the marks in windows are right."""

    name = "fuzzing"
    source = "Paulo et al. 2024 (arXiv 2410.13928), section on scoring; delphi's FuzzingScorer, its default and active kinds together"
    needs_explanation = True
    figures: ClassVar[Mapping[str, str]] = yes_no_items.FIGURES | {
        "marks_alone": "balanced accuracy within windows in which the unit is active: right marks against shifted ones"
    }
    chance = 0.5

    def items(self, case: Case) -> list[Item]:
        """Every judged window once, shuffled. Silent windows have wrong marks; active ones right and wrong ones in turn, bin by bin."""
        rng = case.rng(self.name)
        windows = _compared(case)
        active = sorted(windows.active, key=lambda e: e.bin)
        rng.shuffle(active)
        active.sort(key=lambda e: e.bin)
        patterns = [_right_marks(e) for e in active]
        items = []
        for number, (exemplar, right) in enumerate(zip(active, patterns, strict=True)):
            wrong = _wrong_marks(exemplar, right, rng) if number % 2 else ()
            items.append(_item(exemplar, wrong or right, not wrong, True))
        for exemplar in windows.silent:
            pattern = rng.choice(patterns) if patterns else ()
            if is_silent(exemplar) and (wrong := _wrong_marks(exemplar, pattern, rng)):
                items.append(_item(exemplar, wrong, False, False))
        rng.shuffle(items)
        return items

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Five windows per question."""
        return yes_no_items.questions(self.name, SYSTEM, case.explanation, self.items(case), render_window)

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """Windows with right marks against those with wrong ones."""
        return [Shape.of(item.truth, item.window) for item in self.items(case)]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Figures of the answers."""
        items = self.items(case)
        scores = yes_no_items.scores(
            case.explanation, items, answers, "no window with right marks or none with wrong ones"
        )
        inside = [(item.truth, flag) for item, flag in yes_no_items.answered(items, answers) if item.active]
        alone = answer_metrics.balanced_accuracy([truth for truth, _ in inside], [flag for _, flag in inside])
        why = scores.why
        if not isinstance(why, str):
            why = {**why, "marks_alone": "no active window was answered with right marks, or none with wrong ones"}
        return scores._replace(values={**scores.values, "marks_alone": alone}, why=why)


def _compared(case: Case) -> Matched:
    """The windows that are asked about: active ones and silent ones of equal lengths, or only the active ones if those that have a
    silent partner are fewer than half."""
    if any(window.has_uncounted_activations for window in case.active):
        return Matched(list(case.active), list(case.silent))
    windows = matched(case.active, [window for window in case.silent if is_silent(window)])
    return windows if 2 * len(windows.active) >= len(case.active) else Matched(list(case.active), [])


def _right_marks(exemplar: Exemplar) -> tuple[int, ...]:
    """Indices of the tokens at or above `THRESHOLD`, and of the exemplar's own."""
    least = THRESHOLD * max(exemplar.token_activations)
    strong = {i for i, a in enumerate(exemplar.token_activations) if a and a >= least and exemplar.tokens[i]}
    return tuple(sorted(strong | {exemplar.mark}))


def _wrong_marks(exemplar: Exemplar, pattern: Sequence[int], rng: random.Random) -> tuple[int, ...]:
    """The marks of `pattern`, shifted so that all fall on counted tokens at which the unit is silent.

    If no shift fits, as many silent tokens are drawn at random; empty if there are too few of them.
    """
    tokens = zip(exemplar.token_activations, exemplar.tokens, strict=True)
    silent = {i for i, (activation, token) in enumerate(tokens) if not activation and token}
    if (
        not exemplar.has_uncounted_activations
    ):  # such an exemplar's marks were asked about before tokens were known to be uncounted
        silent -= exemplar.uncounted
    if not pattern or len(silent) < len(pattern):
        return ()
    length = len(exemplar.tokens)
    shifts = [tuple(i + by for i in pattern) for by in range(-max(pattern), length - min(pattern))]
    fitting = [shifted for shifted in shifts if silent.issuperset(shifted)]
    return rng.choice(fitting) if fitting else tuple(sorted(rng.sample(sorted(silent), len(pattern))))


def _item(exemplar: Exemplar, marks: tuple[int, ...], truth: bool, active: bool) -> Item:
    window = MarkedText(exemplar.tokens, marks[0], marks=marks)
    return Item(window, truth, active, not exemplar.uncounted.isdisjoint(marks))
