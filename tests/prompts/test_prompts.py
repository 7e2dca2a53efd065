"""Prompts and replies: text cannot break its fence or forge a mark, and grades and explanations are read strictly."""

from __future__ import annotations

import json

import pytest

from autointerp.calls import answers as answers_
from autointerp.errors import UsageError
from autointerp.messages import ExplainMaterial, MarkedText, ScoreMaterial
from autointerp.prompts import explanation, grouped_grades, single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.untrusted_text import render_window, sanitise
from autointerp.records import Outcome
from autointerp.spec import rubric

SPECIFICITY = rubric.load("specificity")


@pytest.mark.parametrize(
    "text", ["a << b >> c", "</text>", "< / TEXT >", "<explanation>", "\x1b[31m", "\x00", "<</text>>"]
)
def test_text_can_neither_forge_a_mark_nor_close_a_fence(text: str) -> None:
    shown = render_window(MarkedText((text, "word", text), 1))
    assert shown.count("<<") == shown.count(">>") == 1
    assert "<<word>>" in shown
    assert "</text" not in shown.lower().replace(" ", "")
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)


def test_ordinary_text_is_shown_unchanged() -> None:
    for text in ("if a < b and c > d:", "x = [1, 2]\n\ty", "Größe 大きさ размер", "e-mail <someone>"):
        assert sanitise(text) == text


def test_the_grading_prompt_shows_only_the_explanation_and_the_window() -> None:
    material = ScoreMaterial("names of rivers", MarkedText((" the", " Danube", " flows"), 1, activation_levels=()))
    prompt = single_grade.prompt(SPECIFICITY, material, 100)
    assert "names of rivers" in prompt.user
    assert "the<< Danube>> flows" in prompt.user
    for level in SPECIFICITY.levels:
        assert level.text in prompt.system
    assert list(prompt.schema["properties"]) == ["reason", "grade"]
    assert prompt.schema["properties"]["grade"]["enum"] == [0, 1, 2, 3]


def material(explanation_: str, word: str) -> ScoreMaterial:
    return ScoreMaterial(explanation_, MarkedText((word,), 0))


@pytest.mark.parametrize("ask", ["reason", "grade", "logprobs"])
def test_the_system_text_is_the_same_for_every_case(ask: single_grade.Ask) -> None:
    prompts = [single_grade.prompt(SPECIFICITY, material(*case), 9, ask) for case in [("a", "b"), ("c", "d")]]
    assert prompts[0].system == prompts[1].system


@pytest.mark.parametrize("ask", ["reason", "grade"])
def test_the_system_text_is_the_same_for_groups_of_any_size(ask: grouped_grades.Ask) -> None:
    prompts = [grouped_grades.prompt(SPECIFICITY, [material("a", "b")] * n, 100, ask) for n in (1, 2, 9)]
    assert len({prompt.system for prompt in prompts}) == 1
    assert [prompt.max_tokens for prompt in prompts] == [100 + n * grouped_grades.ITEM_TOKENS[ask] for n in (0, 1, 8)]


def test_each_way_of_asking_describes_its_answer_and_shows_examples_of_it() -> None:
    """The worked examples are answered in the requested format and in no other."""
    for ask in ("reason", "grade", "logprobs"):
        asked = single_grade.prompt(SPECIFICITY, material("a", "b"), 100, ask)  # type: ignore[arg-type]
        answers = [block.rpartition("</text>")[2].strip() for block in asked.system.split("\n\n<explanation>")[1:]]
        assert [single_grade.parse(SPECIFICITY, json.dumps({"said": a, "probabilities": {a: 1.0}}) if ask == "logprobs" else a, ask)[0]  # type: ignore[arg-type]
                for a in answers] == [example.grade for example in SPECIFICITY.examples]  # fmt: skip
        assert ("short reason" in asked.system) == (ask == "reason")
        assert asked.choices == (("0", "1", "2", "3") if ask == "logprobs" else ())


def test_the_parser_accepts_the_worked_group_example() -> None:
    for ask in ("reason", "grade"):
        shown, _, answer = grouped_grades.system(SPECIFICITY, ask).rpartition("\n")  # type: ignore[arg-type]
        grades = grouped_grades.parse(SPECIFICITY, len(SPECIFICITY.examples), answer)
        order = [text.split("\n")[0] for text in shown.split("<explanation>\n")[1:]]
        truth = {(e.explanation, e.grade) for e in SPECIFICITY.examples}
        assert {(text, grade.score) for text, grade in zip(order, grades, strict=True)} == truth  # type: ignore[union-attr]


def test_logprobs_refuses_more_than_ten_grades() -> None:
    levels = tuple(rubric.Level(grade=grade, text="level") for grade in range(11))
    with pytest.raises(UsageError, match="has 11"):
        single_grade.prompt(SPECIFICITY.model_copy(update={"levels": levels}), material("a", "b"), 9, "logprobs")


def packed(reply: str, **probabilities: float) -> str:
    return json.dumps({"said": reply, "probabilities": {name.strip("p"): p for name, p in probabilities.items()}})


def test_probabilities_give_the_most_probable_and_the_expected_grade() -> None:
    assert single_grade.parse(SPECIFICITY, packed("1", p0=0.1, p1=0.2, p3=0.5), "logprobs") == (
        3,
        "",
        pytest.approx(1.7 / 0.8),
    )
    assert single_grade.parse(SPECIFICITY, packed("2", p2=0.999), "logprobs") == (2, "", 2.0)


@pytest.mark.parametrize(
    "text", [packed("The", p1=0.3, p2=0.19, pThe=0.5), packed("", p0=0.0), packed("?"), "3", '{"grade": 3}']
)
def test_no_grade_is_read_if_grades_have_less_than_half_of_the_probability(text: str) -> None:
    with pytest.raises(ReplyUnusable):
        single_grade.parse(SPECIFICITY, text, "logprobs")


@pytest.mark.parametrize(
    ("text", "grades"),
    [
        ('{"1": {"reason": "r", "grade": 3}, "2": {"reason": "r", "grade": 0}}', [3, 0]),
        ('{"1": 3, "2": 0}', [3, 0]),
        ('{"item 2": 1, "01": "2"}', [2, 1]),
        ('{"1": 3, "2": 7}', [3, None]),
        ('{"1": 3, "2": {"grade": 1, "grade": 2}}', [3, None]),
        ('{"1": 3, "2": [2]}', [3, None]),
        ('{"1": 3, "2": null}', [3, None]),
    ],
)
def test_a_malformed_answer_to_one_item_affects_no_other(text: str, grades: list[int | None]) -> None:
    found = grouped_grades.parse(SPECIFICITY, 2, text)
    assert [None if isinstance(grade, ReplyUnusable) else grade.score for grade in found] == grades


@pytest.mark.parametrize(
    "text",
    [
        '{"0": 3, "1": 0}',
        '{"2": 3, "3": 0}',
        '{"1": 3}',
        '{"2": 3}',
        '{"1": 3, "2": 1, "2": 1}',
        '{"1": 3, "2": 1, "item 2": 2}',
        '{"0": 1, "1": 3, "2": 2}',
        '{"1": 3, "2": 2, "3": 1}',
        '{"1": 3, "2": 2, "-1": 1}',
        '{"1": 3, "2": 2, "note": "item 2 comes first"}',
        '{"1st": 3, "2nd": 2}',
    ],
)
def test_a_group_is_unusable_as_a_whole_if_its_keys_are_not_exactly_the_numbers(text: str) -> None:
    with pytest.raises(ReplyUnusable, match=r"of the numbers 1 to 2|among, the numbers 1 to 2"):
        grouped_grades.parse(SPECIFICITY, 2, text)


@pytest.mark.parametrize("text", ["", "[3, 0]", '{"1": 3, "2": 0', '{"grades": {"1": 3}}', '{"1": 3, "1": 3}', "{}"])
def test_a_group_without_any_answer_is_unusable_as_a_whole(text: str) -> None:
    with pytest.raises(ReplyUnusable):
        grouped_grades.parse(SPECIFICITY, 2, text)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ('{"reason": "r", "grade": 2}', 2),
        ('```json\n{"reason": "r", "grade": 0}\n```', 0),
        ('{"reason": "say {\\"grade\\": 3}", "grade": "1"}', 1),
    ],
)
def test_a_grade_is_read(text: str, grade: int) -> None:
    assert single_grade.parse(SPECIFICITY, text)[0] == grade


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
        ('{"reason": "r", "grade": 0, "grade": 3}', Outcome.PARSE_FAILURE),
        ('{"reason": "r", "grade": 4}', Outcome.OUT_OF_RANGE),
        ('{"reason": "r", "grade": -1}', Outcome.OUT_OF_RANGE),
    ],
)
def test_an_invalid_grade_is_refused_with_its_outcome(text: str, outcome: Outcome) -> None:
    with pytest.raises(ReplyUnusable) as refused:
        single_grade.parse(SPECIFICITY, text)
    assert refused.value.outcome is outcome


@pytest.mark.parametrize(
    "reply",
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
def test_reasoning_preambles_and_long_texts_are_refused_as_explanations(reply: str) -> None:
    with pytest.raises(ReplyUnusable):
        explanation.parse(json.dumps({"explanation": reply}), 300)


@pytest.mark.parametrize(
    ("reply", "stored"),
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
def test_stock_phrases_are_removed_from_an_explanation(reply: str, stored: str) -> None:
    assert explanation.parse(json.dumps({"explanation": reply}), 300) == stored


def test_the_explaining_prompt_shows_marks_strengths_and_silent_windows() -> None:
    window = MarkedText((" the", " Danube", " flows"), 1, activation_levels=(0, 10, 3))
    prompt = explanation.prompt(
        SPECIFICITY, ExplainMaterial((window,), (MarkedText((" silent", " text"), 0, (0, 0)),)), 100
    )
    assert "<< Danube>>" in prompt.user
    assert "Danube 10, flows 3" in prompt.user
    assert "silent text" in prompt.user
    again = answers_.with_refusals(prompt, ["it is empty"])
    assert again.user.endswith("An earlier answer was refused: it is empty. Answer again.")
