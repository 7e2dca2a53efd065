"""Distinction: which of five windows does the explanation describe? One is the unit's, the other four its nearest neighbours'.

The unit is silent at the marks of the other windows (`sae.analysis.neighbour_windows`), so an explanation that is true of its unit alone
fits one window. One that claims too much fits neighbours' windows too: all windows that the judge names share the credit of a question,
so that a judge which guesses expects 1/5, however many it names. An explanation that says the same of several units is true of each of
them: these units share the credit too. The first are the extra labels of *Evaluating Neuron Explanations* (arXiv 2506.05774), the second
the collisions of arXiv 2605.12874.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

from autointerp.messages import MarkedText, TaskMaterial
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, Scorer, Scores, Shape, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY, choices, numbered_windows
from autointerp.scorers.equal_lengths import cut_alike
from autointerp.scorers.window_choice import evenly_spaced, step_results, strongest_first

OPTIONS, QUESTIONS = 5, 5
"""Windows in a question, one of which is the unit's, and questions per unit."""
STRONG = 0.5
"""Own windows have at least this share of the unit's maximum, as far as there are enough: the neighbours' are strong ones too."""
SYSTEM = f"""
An explanation, between <explanation> tags, says what certain places in texts have in common. Then come {OPTIONS} texts, in each of which \
one place stands between << and >>.

Say which of the marked places the explanation describes. Usually it is one; it may be none, or several that it describes equally well. \
Judge the marked place in its context, not the rest of the text.

{DATA_ONLY}

Answer with a short reason, and then the numbers of these texts.
""".strip()


class Distinction(Scorer):
    """Asks which of five windows an explanation describes: one of the unit's, or those of its nearest neighbours."""

    name = "distinction"
    source = "after Evaluating Neuron Explanations, arXiv 2506.05774 (extra labels), and arXiv 2605.12874 (labels that collide)"
    needs_explanation = True
    figures: ClassVar[Mapping[str, str]] = {
        "told": "credit of the unit's windows among its neighbours' windows, divided by the number of units with the same explanation",
        "credit": "mean over questions: 1 / the number of windows named if the unit's is among them, else 0",
        "sharing": "number of units of the kind with the same explanation, this one included",
    }
    chance = 1 / OPTIONS

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """One question per own window, with four windows of neighbours; the unit's is at each place in turn."""
        return [
            question(case.explanation, tuple(window.marked_text for window in windows)) for windows in options(case)
        ]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Shares of the questions that were answered."""
        places = [own_place(case, number) for number in range(len(options(case)))]
        results = step_results(answers, 0, len(places))
        credits = [
            (1 + place in named) / max(1, len(named))
            for place, named in zip(places, results, strict=True)
            if named is not None
        ]
        credit = fmean(credits) if credits else None
        told = None if credit is None else credit / case.sharing
        values = {"told": told, "credit": credit, "sharing": float(case.sharing)}
        return Scores(values, len(credits), results.count(None), missing(case))

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """The unit's windows against the neighbours'."""
        return [
            Shape.of(place == own_place(case, number), window.marked_text)
            for number, windows in enumerate(options(case))
            for place, window in enumerate(windows)
        ]


def question(explanation: str, windows: tuple[MarkedText, ...]) -> Question:
    """Ask which of the windows, `OPTIONS` of them, an explanation describes."""
    user = f"<explanation>\n{sanitise(explanation)}\n</explanation>\n{numbered_windows(windows, 'text')}"
    return choices(SYSTEM, user, TaskMaterial(Distinction.name, explanation, windows), OPTIONS)


def options(case: Case) -> list[list[Exemplar]]:
    """The windows of each question, with the unit's at `own_place`; no questions if there are fewer than four windows of neighbours."""
    if missing(case):
        return []
    ranked, others = strongest_first(case.active), case.neighbours
    strong = [window for window in ranked if window.activation_fraction >= STRONG]
    own = evenly_spaced(strong if len(strong) >= QUESTIONS else ranked[:QUESTIONS], QUESTIONS)
    shown = []
    for number, window in enumerate(own):
        first = number * (OPTIONS - 1)
        windows = [others[(first + turn) % len(others)] for turn in range(OPTIONS - 1)]
        windows.insert(own_place(case, number), window)
        shown.append(cut_alike(windows))
    return shown


def missing(case: Case) -> str:
    """Why a unit has no question; empty if it has."""
    if len(case.neighbours) < OPTIONS - 1:
        return f"fewer than {OPTIONS - 1} windows in which a neighbour is strongly active and the unit silent"
    return "" if case.active else "no judged window"


def own_place(case: Case, number: int) -> int:
    """The index of the unit's window in a question: each in turn, starting from one that the unit's seed determines."""
    return (case.seed + number) % OPTIONS
