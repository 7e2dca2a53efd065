"""Scoring: one explanation and one marked window to a prompt, and the reply to a grade of the rubric.

A judge is asked in one of three ways. `reason`: a short reason, then the grade, in JSON. `grade`: the grade alone, in JSON.
`logprobs`: one digit, whose probabilities give the mean grade that the judge would give if asked without end (Liu et al. 2023, "G-Eval",
section 2, take it as the score). Several items in one question are asked by `grouped`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from autointerp.errors import UsageError
from autointerp.messages import Prompt, ScoreMaterial, unfold
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import harmless, show
from autointerp.records import Outcome
from autointerp.spec.rubric import Example, Rubric

Ask = Literal["reason", "grade", "logprobs"]

CHOICE_TOKENS = 16
"""Ceiling of a reply of one digit: the least that OpenAI takes."""
LEAST_MASS = 0.5
"""Grades that together hold less of the probability are no answer: the judge was about to say something else."""
_WANTED: Mapping[Ask, str] = {
    "reason": "Answer with a short reason, one sentence, and then the grade.",
    "grade": "Answer with the grade alone, as JSON.",
    "logprobs": "Answer with the grade alone: one digit and nothing else.",
}
_DIGIT_PLEASE = "\nThe grade, one digit:"


class Grade(NamedTuple):
    """A grade of the rubric, the judge's reason, and its mean grade by its own probabilities, where it gave them."""

    score: int
    reason: str = ""
    expected: float | None = None


def schema(rubric: Rubric, ask: Ask = "reason") -> dict[str, Any]:
    """The reply's JSON schema: a short reason first, so that the grade follows from it, then the grade as an enum."""
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
    examples = "\n\n".join(f"{case(e.explanation, e.marked)}\n{_answered(e, ask)}" for e in rubric.examples)
    return f"{instructions(rubric)}\n{_WANTED[ask]}\n\n{levels(rubric)}\n\nWorked examples:\n\n{examples}"


def prompt(rubric: Rubric, material: ScoreMaterial, max_tokens: int, ask: Ask = "reason") -> Prompt:
    """The question whether the marked token of a window is what the explanation says.

    `max_tokens` is the ceiling of the reply; one digit has its own. Raises `UsageError` for `logprobs` on a scale of more than 10.
    """
    by_digit = ask == "logprobs"
    if by_digit and len(rubric.levels) > 10:
        raise UsageError(f"score.ask = logprobs needs grades of one digit, and {rubric.name} has {len(rubric.levels)}")
    return Prompt(
        system=system(rubric, ask),
        user=case(material.explanation, show(material.window)) + (_DIGIT_PLEASE if by_digit else ""),
        schema=schema(rubric, ask),
        max_tokens=CHOICE_TOKENS if by_digit else max_tokens,
        material=material,
        choices=tuple(str(grade) for grade in rubric.grades) if by_digit else (),
    )


def parse(rubric: Rubric, text: str, ask: Ask = "reason") -> Grade:
    """The grade in a complete reply. Raises `ReplyUnusable`: an odd grade is never rounded or clipped."""
    return _weighed(rubric, text) if ask == "logprobs" else graded(rubric, read_object(text))


def graded(rubric: Rubric, reply: Mapping[str, Any]) -> Grade:
    """The grade and reason in an object of a reply. Raises `ReplyUnusable`."""
    grade = reply.get("grade")
    if isinstance(grade, str) and len(grade) < 10 and grade.strip().isdecimal():
        grade = int(grade)
    if isinstance(grade, bool) or not isinstance(grade, int):
        raise ReplyUnusable(f"the grade is missing or not a whole number: {grade!r}")
    if grade not in rubric.grades:
        raise ReplyUnusable(f"the grade {grade} is not on the rubric", Outcome.OUT_OF_RANGE)
    return Grade(grade, str(reply.get("reason", "")).strip()[:500])


def instructions(rubric: Rubric) -> str:
    """How to grade, without the form of the answer."""
    return rubric.score_instructions.strip()


def levels(rubric: Rubric) -> str:
    """The grades and what they mean."""
    return "Grades:\n" + "\n".join(f"{level.grade} - {level.text}" for level in rubric.levels)


def case(explanation: str, marked: str) -> str:
    """One item as a judge reads it; `marked` is harmless already."""
    return f"<explanation>\n{harmless(explanation)}\n</explanation>\n<text>\n{marked}\n</text>"


def answer_of(example: Example, ask: Ask) -> dict[str, Any]:
    """The answer that a worked example deserves."""
    return ({"reason": example.reason} if ask == "reason" else {}) | {"grade": example.grade}


def _answered(example: Example, ask: Ask) -> str:
    if ask == "logprobs":
        return str(example.grade)
    return json.dumps(answer_of(example, ask), ensure_ascii=False)


def _weighed(rubric: Rubric, text: str) -> Grade:
    """The likeliest grade and the mean of all. The likeliest, not the one that was said: a sampled digit adds only chance."""
    said, probabilities = unfold(text)
    if probabilities is None:
        raise ReplyUnusable(f"no probabilities came with {said[:40]!r}: set score.ask to grade")
    weights = {grade: float(probabilities.get(str(grade), 0.0)) for grade in rubric.grades}
    mass = sum(weights.values())
    if mass < LEAST_MASS:
        raise ReplyUnusable(f"the grades hold {mass:.2f} of the probability; {said[:40]!r} was said")
    expected = sum(grade * weight for grade, weight in weights.items()) / mass
    likeliest = max(weights, key=lambda grade: weights[grade])
    return Grade(likeliest, "", expected)
