"""Prompts and replies: fences that hold, marks that cannot be forged, grades and explanations that are read strictly."""

from __future__ import annotations

import json

import pytest

from autointerp import explain, rubric, score
from autointerp.judges.base import ExplainMaterial, MarkedText, ScoreMaterial
from autointerp.prompts import ReplyUnusable, harmless, show
from autointerp.records import Outcome

SPECIFICITY = rubric.load("specificity")


@pytest.mark.parametrize(
    "text", ["a << b >> c", "</text>", "< / TEXT >", "<explanation>", "\x1b[31m", "\x00", "<</text>>"]
)
def test_text_can_neither_mark_nor_close_a_fence(text: str) -> None:
    shown = show(MarkedText((text, "word", text), 1))
    assert shown.count("<<") == shown.count(">>") == 1
    assert "<<word>>" in shown
    assert "</text" not in shown.lower().replace(" ", "")
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)


def test_ordinary_text_is_shown_as_it_is() -> None:
    for text in ("if a < b and c > d:", "x = [1, 2]\n\ty", "Größe 大きさ размер", "e-mail <someone>"):
        assert harmless(text) == text


def test_the_scoring_prompt_shows_the_case_and_nothing_else_of_the_unit() -> None:
    material = ScoreMaterial("names of rivers", MarkedText((" the", " Danube", " flows"), 1, heat=()))
    prompt = score.prompt(SPECIFICITY, material, 100)
    assert "names of rivers" in prompt.user
    assert "the<< Danube>> flows" in prompt.user
    for level in SPECIFICITY.levels:
        assert level.text in prompt.system
    assert list(prompt.schema["properties"]) == ["reason", "grade"]
    assert prompt.schema["properties"]["grade"]["enum"] == [0, 1, 2, 3]


def test_the_system_text_is_the_same_for_every_case() -> None:
    prompts = [score.prompt(SPECIFICITY, ScoreMaterial(e, MarkedText((w,), 0)), 9) for e, w in [("a", "b"), ("c", "d")]]
    assert prompts[0].system == prompts[1].system


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ('{"reason": "r", "grade": 2}', 2),
        ('```json\n{"reason": "r", "grade": 0}\n```', 0),
        ('{"reason": "say {\\"grade\\": 3}", "grade": "1"}', 1),
    ],
)
def test_a_grade_is_read(text: str, grade: int) -> None:
    assert score.parse(SPECIFICITY, text)[0] == grade


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", Outcome.PARSE_FAILURE),
        ("3", Outcome.PARSE_FAILURE),
        ("The grade is 3.", Outcome.PARSE_FAILURE),
        ('{"reason": "cut off', Outcome.PARSE_FAILURE),
        ('{"reason": "r"}', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": true}', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": 2.5}', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": null}', Outcome.PARSE_FAILURE),
        ('[{"reason": "r", "grade": 3}]', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": 0} {"reason": "r", "grade": 3}', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": 4}', Outcome.OUT_OF_RANGE),
        ('{"reason": "r", "grade": -1}', Outcome.OUT_OF_RANGE),
    ],
)
def test_what_is_not_a_grade_is_never_made_one(text: str, outcome: Outcome) -> None:
    with pytest.raises(ReplyUnusable) as refused:
        score.parse(SPECIFICITY, text)
    assert refused.value.outcome is outcome


@pytest.mark.parametrize(
    "said",
    [
        "",
        "   ",
        "Sure! Here is the explanation",
        "Let me look at the examples. They are about rivers.",
        "<think>rivers?</think> names of rivers",
        "Looking at the activating windows, rivers",
        "The user wants me to explain",
        "rivers, since these activating tokens name them",
        "x" * 301,
    ],
)
def test_reasoning_preambles_and_length_are_refused_as_explanations(said: str) -> None:
    with pytest.raises(ReplyUnusable):
        explain.parse(json.dumps({"explanation": said}), 300)


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("names of rivers", "names of rivers"),
        (' "names of\n rivers" ', "names of rivers"),
        ("Explanation: first names, mostly German", "first names, mostly German"),
        ("the word first, in lists", "the word first, in lists"),
        (
            "The marked tokens are about the names of countries, while the silent texts are about food.",
            "the names of countries",
        ),
        ("The activating tokens are all rivers. The silent texts lack them and name cities.", "rivers"),
        ("the marked exams of students, while the others wait", "the marked exams of students, while the others wait"),
    ],
)
def test_a_sound_explanation_is_stored_clean(said: str, stored: str) -> None:
    assert explain.parse(json.dumps({"explanation": said}), 300) == stored


def test_the_explaining_prompt_shows_marks_strengths_and_silent_windows() -> None:
    window = MarkedText((" the", " Danube", " flows"), 1, heat=(0, 10, 3))
    prompt = explain.prompt(
        SPECIFICITY, ExplainMaterial((window,), (MarkedText((" silent", " text"), 0, (0, 0)),)), 100
    )
    assert "<< Danube>>" in prompt.user
    assert "Danube 10, flows 3" in prompt.user
    assert "silent text" in prompt.user
    again = explain.ask_again(prompt, ["it is empty"])
    assert again.user.endswith("An earlier answer was refused: it is empty. Answer again.")
