"""The grading prompt for one item: renders an explanation and a marked window, and reads a grade of the rubric from the reply.

A judge is asked in one of three ways. `reason`: for a short reason and then the grade, in JSON. `grade`: for the grade alone, in JSON.
`logprobs`: for one digit, whose token probabilities give the judge's expected grade (used as the score by Liu et al. 2023, "G-Eval",
section 2). `grouped_grades` asks about several items in one question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from autointerp.errors import UsageError
from autointerp.messages import Prompt, ScoreMaterial, unpack_probabilities
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import render_window, sanitise
from autointerp.records import Outcome
from autointerp.spec.rubric import Example, Rubric

Ask = Literal["reason", "grade", "logprobs"]

CHOICE_TOKENS = 16
"""Token limit of a one-digit reply: the lowest that OpenAI accepts."""
MIN_GRADE_MASS = 0.5
"""If all grades together have less probability than this, the judge was about to say something else: no grade is read."""
_ANSWER_FORMAT: Mapping[Ask, str] = {
    "reason": "Answer with a short reason, one sentence, and then the grade.",
    "grade": "Answer with the grade alone, as JSON.",
    "logprobs": "Answer with the grade alone: one digit and nothing else.",
}
_ASK_FOR_DIGIT = "\nThe grade, one digit:"


class Grade(NamedTuple):
    """A grade of the rubric, the judge's reason, and the expected grade under its token probabilities, if they were requested."""

    score: int
    reason: str = ""
    expected: float | None = None


def schema(rubric: Rubric, ask: Ask = "reason") -> dict[str, Any]:
    """The reply's JSON schema: the reason first, so that the grade follows from it, then the grade as an enum."""
    reason = {"reason": {"type": "string", "description": "one short sentence, at most 25 words"}}
    properties = (reason if ask == "reason" else {}) | {"grade": {"type": "integer", "enum": list(rubric.grades)}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def system(rubric: Rubric, ask: Ask = "reason") -> str:
    """Instructions, levels and worked examples: the same for every question of a run, so that providers can cache it."""
    examples = "\n\n".join(
        f"{render_item(e.explanation, e.marked)}\n{_rendered_answer(e, ask)}" for e in rubric.examples
    )
    return f"{instructions(rubric)}\n{_ANSWER_FORMAT[ask]}\n\n{levels(rubric)}\n\nWorked examples:\n\n{examples}"


def prompt(rubric: Rubric, material: ScoreMaterial, max_tokens: int, ask: Ask = "reason") -> Prompt:
    """Ask how well the explanation fits the marked token of the window.

    `max_tokens` limits the reply, except that of one digit. Raises `UsageError` for `logprobs` with more than ten grades.
    """
    by_digit = ask == "logprobs"
    if by_digit and len(rubric.levels) > 10:
        raise UsageError(f"score.ask = logprobs needs grades of one digit, and {rubric.name} has {len(rubric.levels)}")
    return Prompt(
        system=system(rubric, ask),
        user=render_item(material.explanation, render_window(material.window)) + (_ASK_FOR_DIGIT if by_digit else ""),
        schema=schema(rubric, ask),
        max_tokens=CHOICE_TOKENS if by_digit else max_tokens,
        material=material,
        choices=tuple(str(grade) for grade in rubric.grades) if by_digit else (),
    )


def parse(rubric: Rubric, text: str, ask: Ask = "reason") -> Grade:
    """The grade in a complete reply. Raises `ReplyUnusable` rather than round or clip a grade that the rubric does not have."""
    return _from_probabilities(rubric, text) if ask == "logprobs" else read_grade(rubric, read_object(text))


def read_grade(rubric: Rubric, reply: Mapping[str, Any]) -> Grade:
    """The grade and reason in a reply's object for one item. Raises `ReplyUnusable`."""
    grade = reply.get("grade")
    if isinstance(grade, str) and len(grade) < 10 and grade.strip().isdecimal():
        grade = int(grade)
    if isinstance(grade, bool) or not isinstance(grade, int):
        raise ReplyUnusable(f"the grade is missing or not a whole number: {grade!r}")
    if grade not in rubric.grades:
        raise ReplyUnusable(f"the grade {grade} is not on the rubric", Outcome.OUT_OF_RANGE)
    return Grade(grade, str(reply.get("reason", "")).strip()[:500])


def instructions(rubric: Rubric) -> str:
    """The rubric's instructions, without the format of the answer."""
    return rubric.score_instructions.strip()


def levels(rubric: Rubric) -> str:
    """The list of grades with their meaning."""
    return "Grades:\n" + "\n".join(f"{level.grade} - {level.text}" for level in rubric.levels)


def render_item(explanation: str, marked: str) -> str:
    """One item as a judge reads it. `marked` must be sanitised already."""
    return f"<explanation>\n{sanitise(explanation)}\n</explanation>\n<text>\n{marked}\n</text>"


def expected_answer(example: Example, ask: Ask) -> dict[str, Any]:
    """The correct answer to a worked example."""
    return ({"reason": example.reason} if ask == "reason" else {}) | {"grade": example.grade}


def _rendered_answer(example: Example, ask: Ask) -> str:
    if ask == "logprobs":
        return str(example.grade)
    return json.dumps(expected_answer(example, ask), ensure_ascii=False)


def _from_probabilities(rubric: Rubric, text: str) -> Grade:
    """The most probable grade and the expected grade. The digit in the reply is ignored: sampling it only adds noise."""
    digit, probabilities = unpack_probabilities(text)
    if probabilities is None:
        raise ReplyUnusable(f"the reply {digit[:40]!r} has no probabilities: set score.ask to grade")
    weights = {grade: float(probabilities.get(str(grade), 0.0)) for grade in rubric.grades}
    mass = sum(weights.values())
    if mass < MIN_GRADE_MASS:
        raise ReplyUnusable(f"all grades together have probability {mass:.2f} only; the reply is {digit[:40]!r}")
    expected = sum(grade * weight for grade, weight in weights.items()) / mass
    likeliest = max(weights, key=lambda grade: weights[grade])
    return Grade(likeliest, "", expected)
