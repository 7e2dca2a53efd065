"""Sensitivity: texts with a pure unit's words activate it and others do not, and a missing text never counts as a 0."""

from __future__ import annotations

import json
from itertools import count

import pytest
from support.scorers import cases as scorer_cases
from support.scorers.cases import case, walk

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import Prompt, TaskMaterial
from autointerp.scorers.sensitivity import Sensitivity
from autointerp.spec.rubric import load

pytestmark = pytest.mark.usefixtures("one_thread")


def writes(to_explanation: str, after_examples: str = "filler7") -> scorer_cases.Ask:
    """A judge that writes ten texts, with one word for an explanation and with another for examples."""
    number = count()

    def ask(prompt: Prompt) -> str:
        assert isinstance(prompt.material, TaskMaterial)
        word = to_explanation if prompt.material.explanation else after_examples
        return json.dumps({"texts": [f"filler{next(number) % 60} {word} filler3" for _ in range(10)]})

    return ask


def test_texts_with_the_units_words_score_1_and_others_0(opened: scorer_cases.Opened) -> None:
    right, _ = walk(Sensitivity(), case(), writes("harbour3", "orchard3"), opened)
    assert right.values == {
        "sensitivity": 1, "sensitivity_any": 1, "from_examples": 0, "from_examples_any": 0, "read_again": 1
    }  # fmt: skip
    assert (right.n, right.n_unscored) == (20, 0)
    wrong, _ = walk(Sensitivity(), case(), writes("orchard3", "harbour3"), opened)
    assert (wrong.values["sensitivity"], wrong.values["from_examples"]) == (0, 1)


def test_a_weak_response_counts_only_in_the_figures_for_any_activation(opened: scorer_cases.Opened) -> None:
    """The weakest word activates the unit at 0.04; its maximum is 0.94."""
    weak, _ = walk(Sensitivity(), case(), writes("nearharbour0"), opened)
    assert (weak.values["sensitivity"], weak.values["sensitivity_any"]) == (0, 1)


def test_a_unit_that_responds_to_3_of_10_texts_scores_0_3(opened: scorer_cases.Opened) -> None:
    def ask(prompt: Prompt) -> str:
        return json.dumps({"texts": [f"filler{i} {'harbour1' if i < 3 else 'filler1'} filler2" for i in range(10)]})

    scores, _ = walk(Sensitivity(), case(), ask, opened)
    assert scores.values["sensitivity"] == scores.values["from_examples"] == pytest.approx(0.3)


def test_one_question_shows_the_explanation_and_the_other_the_strongest_windows(opened: scorer_cases.Opened) -> None:
    first, second = Sensitivity().questions(case(), 0, [])
    assert "words about a harbour" in first.prompt.user
    assert "<<" not in first.prompt.user
    assert "words about a harbour" not in second.prompt.user
    assert second.prompt.user.count("<<") == 10
    assert "near" not in second.prompt.user
    assert first.prompt.system == second.prompt.system


def test_questions_without_texts_are_unscored(opened: scorer_cases.Opened) -> None:
    nothing, answers = walk(Sensitivity(), case(), lambda prompt: None, opened)
    assert answers == [[None, None], []]
    assert (nothing.n, nothing.n_unscored, set(nothing.values.values())) == (0, 2, {None})
    assert set(nothing.values) == set(Sensitivity.figures)
    replies = iter([None, '{"texts": ["filler1 harbour1", "filler2"]}'])
    half, _ = walk(Sensitivity(), case(), lambda prompt: next(replies), opened)
    assert (half.n, half.n_unscored) == (2, 1)
    assert (half.values["sensitivity"], half.values["from_examples"]) == (None, 0.5)


def test_texts_that_were_not_read_are_unscored() -> None:
    unread, answers = walk(Sensitivity(), case(), writes("harbour3"))
    assert len(answers[1]) == 30
    assert (unread.n, unread.n_unscored, set(unread.values.values())) == (0, 30, {None})


def test_the_embedded_judge_refuses_to_write() -> None:
    judge = EmbeddedJudge(load("specificity"))
    for question in Sensitivity().questions(case(), 0, []):
        reply = judge.ask(question.prompt)
        assert reply.stop == "refusal"
        assert "cannot" in reply.text
        assert "write" in reply.text


def test_a_unit_without_explanation_gets_no_questions(opened: scorer_cases.Opened) -> None:
    scores, _ = walk(Sensitivity(), case(explanation=""), writes("harbour1"), opened)
    assert (scores.n, scores.n_unscored) == (0, 0)
