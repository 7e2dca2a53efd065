"""The grading prompt for several items: the instructions are sent once, and each item is still judged independently.

The reply is an object with one required key per item, in order, so that a server that enforces the schema skips no item and answers none
twice. A reply with other keys is not read, because its grades may be those of the neighbouring items: the group is asked again, and then
each item alone (`autointerp.calls.groups`). A malformed grade makes its own item unscored, never another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from autointerp.hashing import content_hash
from autointerp.messages import GroupMaterial, Prompt, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.prompts.replies import ReplyUnusable, numbered_values, read_object
from autointerp.prompts.untrusted_text import render_window
from autointerp.spec.rubric import Rubric

Ask = Literal["reason", "grade"]
ITEM_TOKENS: dict[Ask, int] = {"reason": 96, "grade": 16}
"""Added to the reply's token limit for each item after the first."""
_GROUP = """You are given several items. Each stands between its own <item> tags, with an explanation and a text, and was put together by \
chance: one item says nothing about another. Grade each by itself, as if it were the only one; any grade may occur any number of \
times, or never."""
_ANSWER_FORMAT: dict[Ask, str] = {
    "reason": "Answer with one JSON object: under the number of each item a short reason, one sentence, and then the grade.",
    "grade": "Answer with one JSON object: under the number of each item its grade.",
}


def prompt(rubric: Rubric, materials: Sequence[ScoreMaterial], max_tokens: int, ask: Ask = "reason") -> Prompt:
    """Ask for the grades of all `materials`, numbered from 1. `max_tokens` is the limit for a reply about one of them."""
    cases = [single_grade.render_item(material.explanation, render_window(material.window)) for material in materials]
    return Prompt(
        system=system(rubric, ask),
        user=_numbered(cases),
        schema=schema(rubric, len(cases), ask),
        max_tokens=max_tokens + ITEM_TOKENS[ask] * (len(cases) - 1),
        material=GroupMaterial(tuple(materials)),
    )


def system(rubric: Rubric, ask: Ask = "reason") -> str:
    """Instructions, levels and the worked examples as one group. It does not depend on the group's size, so that providers can cache it."""
    examples = sorted(rubric.examples, key=lambda example: content_hash([example.explanation, example.marked]))
    shown = _numbered([single_grade.render_item(example.explanation, example.marked) for example in examples])
    expected = [single_grade.expected_answer(example, ask) for example in examples]
    answers = {str(i): answer if ask == "reason" else answer["grade"] for i, answer in enumerate(expected, 1)}
    return (
        f"{single_grade.instructions(rubric)}\n\n{_GROUP}\n{_ANSWER_FORMAT[ask]}\n\n{single_grade.levels(rubric)}\n\nA worked example:\n\n"
        f"{shown}\n{json.dumps(answers, ensure_ascii=False)}"
    )


def schema(rubric: Rubric, n: int, ask: Ask = "reason") -> dict[str, Any]:
    """The reply's JSON schema: for each of `n` items an object with reason and grade, or a bare grade."""
    item = single_grade.schema(rubric) if ask == "reason" else single_grade.schema(rubric, ask)["properties"]["grade"]
    numbers = [str(number) for number in range(1, n + 1)]
    return {
        "type": "object",
        "$defs": {"item": item},
        "properties": {number: {"$ref": "#/$defs/item"} for number in numbers},
        "required": numbers,
        "additionalProperties": False,
    }


def parse(rubric: Rubric, n: int, text: str) -> list[single_grade.Grade | ReplyUnusable]:
    """The grade of each of `n` items in a complete reply, or the error that leaves it without one.

    Raises `ReplyUnusable` if the reply's keys are not exactly the items' numbers, or if no item has a grade.
    """
    values = numbered_values(read_object(text), n)
    grades = [_one(rubric, number, value) for number, value in enumerate(values, 1)]
    unusable = [grade for grade in grades if isinstance(grade, ReplyUnusable)]
    if unusable and len(unusable) == n:
        raise unusable[0]
    return grades


def _one(rubric: Rubric, number: int, value: Any) -> single_grade.Grade | ReplyUnusable:
    try:
        return single_grade.read_grade(rubric, value if isinstance(value, dict) else {"grade": value})
    except ReplyUnusable as error:
        return ReplyUnusable(f"item {number}: {error}", error.outcome)


def _numbered(cases: Sequence[str]) -> str:
    return "\n".join(f"<item {number}>\n{case}\n</item {number}>" for number, case in enumerate(cases, 1))
