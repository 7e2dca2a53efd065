"""Scoring: one explanation and one marked window to a prompt, and the reply to a grade of the rubric."""

from __future__ import annotations

from typing import Any

from autointerp.judges.base import Prompt, ScoreMaterial
from autointerp.prompts import ReplyUnusable, harmless, read_object, show
from autointerp.records import Outcome
from autointerp.rubric import Rubric


def schema(rubric: Rubric) -> dict[str, Any]:
    """The reply's JSON schema: a short reason first, so that the grade follows from it, then the grade as an enum."""
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "description": "one short sentence, at most 25 words"},
            "grade": {"type": "integer", "enum": [level.grade for level in rubric.levels]},
        },
        "required": ["reason", "grade"],
        "additionalProperties": False,
    }


def system(rubric: Rubric) -> str:
    """Instructions, levels and worked examples: the same for every question of a run, so that providers can cache it."""
    levels = "\n".join(f"{level.grade} - {level.text}" for level in rubric.levels)
    examples = "\n\n".join(
        f"{_case(example.explanation, example.marked)}\n"
        f'{{"reason": {_quote(example.reason)}, "grade": {example.grade}}}'
        for example in rubric.examples
    )
    return f"{rubric.score_instructions.strip()}\n\nGrades:\n{levels}\n\nWorked examples:\n\n{examples}"


def prompt(rubric: Rubric, material: ScoreMaterial, max_tokens: int) -> Prompt:
    """The question whether the marked token of a window is what the explanation says."""
    return Prompt(
        system=system(rubric),
        user=_case(material.explanation, show(material.window)),
        schema=schema(rubric),
        max_tokens=max_tokens,
        material=material,
    )


def parse(rubric: Rubric, text: str) -> tuple[int, str]:
    """Grade and reason of a complete reply. Raises `ReplyUnusable`: an odd grade is never rounded or clipped."""
    reply = read_object(text)
    grade = reply.get("grade")
    if isinstance(grade, str) and len(grade) < 10 and grade.strip().isdecimal():
        grade = int(grade)
    if isinstance(grade, bool) or not isinstance(grade, int):
        raise ReplyUnusable(f"the grade is missing or not a whole number: {grade!r}")
    if grade not in {level.grade for level in rubric.levels}:
        raise ReplyUnusable(f"the grade {grade} is not on the rubric", Outcome.OUT_OF_RANGE)
    return grade, str(reply.get("reason", "")).strip()[:500]


def _case(explanation: str, marked: str) -> str:
    return f"<explanation>\n{harmless(explanation)}\n</explanation>\n<text>\n{marked}\n</text>"


def _quote(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
