"""Every figure that a scorer leaves undefined comes with a reason that says what was missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.scorers.cases import LARGEST, case

from autointerp.messages import Prompt
from autointerp.prompts.replies import ReplyUnusable
from autointerp.scorers.base import Case, ReadPeaks, ReadText, Scorer, Scores, SteerText
from autointerp.scorers.registry import SCORERS

GENERIC = {"not determined by its answers", "nothing could be asked"}
Reply = Callable[[Prompt], str | None]


def walk(scorer: Scorer, of: Case, reply: Reply, activation: float = 0.0) -> Scores:
    """The figures with a scripted judge, and a subject whose unit has one activation at every text."""

    def run(task: ReadText | ReadPeaks | SteerText) -> Any:
        if isinstance(task, ReadPeaks):
            return [activation if number % 4 == 0 else 0.0 for number, _ in enumerate(task.texts)]
        return [activation] if isinstance(task, ReadText) else task.text

    answers: list[list[Any]] = []
    for step, kind in enumerate(scorer.steps):
        if kind == "run":
            answers.append([run(task) for task in scorer.subject_tasks(of, step, answers)])
            continue
        asked: list[Any] = []
        for question in scorer.questions(of, step, answers):
            text = reply(question.prompt)
            try:
                asked.append(None if text is None else question.parse(text))
            except ReplyUnusable:
                asked.append(None)
        answers.append(asked)
    return scorer.score(of, answers)


def constant(value: Any) -> Reply:
    """A judge that answers every question with the same value, and writes the same text."""

    def reply(prompt: Prompt) -> str:
        keys = prompt.schema["properties"] if prompt.schema else {}
        special = {"answer": 1, "reason": "", "texts": ["filler1 filler2"], "strengths": []}
        return json.dumps({key: special.get(key, value) for key in keys})

    return reply


def never_silent(of: Case) -> Case:
    noisy = [replace(w, token_activations=(0.1,) * len(w.tokens)) for w in (*of.active, *of.silent)]
    return replace(of, active=tuple(noisy[: len(of.active)]), silent=tuple(noisy[len(of.active) :]))


CASES = {
    "usual": case(),
    "never silent": never_silent(case()),
    "hardly any window": replace(case(), active=case().active[:2]),
    "no window": replace(case(), active=()),
    "no silent window": replace(case(), silent=()),
    "no other unit": replace(case(), others=()),
}
JUDGES: dict[str, Reply] = {"yes": constant(True), "no": constant(False), "2": constant(2), "0": constant(0)}
JUDGES["failing"] = lambda prompt: None


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_an_undefined_figure_has_a_reason_of_its_own(scorer: Scorer, name: str) -> None:
    for judge in JUDGES.values():
        for activation in (0.0, LARGEST):
            scores = walk(scorer, CASES[name], judge, activation)
            for figure, value in scores.values.items():
                reason = scores.reason(figure)
                assert (reason is None) == (value is not None), figure
                assert reason not in GENERIC, (figure, scores)


def test_the_reasons_of_units_that_could_not_be_evaluated() -> None:
    def reasons(scorer: str, name: str, judge: str) -> Sequence[str]:
        scores = walk(SCORERS[scorer], CASES[name], JUDGES[judge])
        return sorted({reason for figure in scores.values if (reason := scores.reason(figure))})

    silent = ["no window in which the unit is silent throughout"]
    assert reasons("detection", "never silent", "yes") == silent
    assert reasons("contrastive", "never silent", "yes") == silent
    assert reasons("embedding", "never silent", "yes") == silent
    assert reasons("detection", "usual", "failing") == ["no usable answer"]
    assert reasons("detection", "usual", "no") == ["the judge never answered yes"]
    assert reasons("faithfulness", "usual", "2") == [
        "all continuations at strength 0 are rated 2: nothing is left to gain"
    ]
    assert reasons("faithfulness", "usual", "0") == ["no strength has more continuations rated 2 than strength 0"]
    assert reasons("responsiveness", "usual", "2") == ["no text is rated 0"]
    assert reasons("sort", "no other unit", "yes") == ["no other unit with 5 judged windows"]
    assert reasons("sort", "hardly any window", "yes") == ["fewer than 6 judged windows"]
    assert reasons("distinction", "usual", "yes") == [
        "fewer than 4 windows in which a neighbour is strongly active and the unit silent"
    ]
