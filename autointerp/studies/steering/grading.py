"""Grades of continuations by a judge: on target and coherent, each on a scale of the rubric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Outcome
from autointerp.spec.rubric import Level
from autointerp.studies.judging import Question
from autointerp.studies.steering.rubric import SteeringRubric
from autointerp.studies.workbench import Workbench

TOKENS = 512
"""Token limit of a reply."""


class Grades(NamedTuple):
    """Both grades of a continuation."""

    on_target: int
    coherence: int


@dataclass(frozen=True)
class Continued:
    """A continuation to grade: what steering should bring, the prompt, and the text. The judge sees neither factor nor arm."""

    expected: str
    prompt: str
    text: str


def grade(bench: Workbench, rubric: SteeringRubric, continued: Sequence[Continued]) -> list[Grades | None]:
    """The judge's grades in the order of the continuations; None for a continuation that could not be graded, or an empty one."""
    distinct = list(dict.fromkeys(each for each in continued if each.text.strip()))
    answers = bench.ask([question(rubric, each) for each in distinct]) if distinct else []
    grades = {each: answer.value for each, answer in zip(distinct, answers, strict=True)}
    return [grades.get(each) for each in continued]


def question(rubric: SteeringRubric, continued: Continued) -> Question[Grades]:
    """The question for one continuation."""
    system = "\n\n".join(
        [
            rubric.instructions.strip(),
            "Answer with a short reason, one sentence, and then the grades.",
            _levels("on_target", rubric.on_target),
            _levels("coherence", rubric.coherence),
        ]
    )
    user = (
        f"<explanation>\n{sanitise(continued.expected)}\n</explanation>\n<item 1>\n{sanitise(continued.prompt)}\n</item 1>\n"
        f"<text>\n{sanitise(continued.text)}\n</text>"
    )
    windows = (MarkedText((continued.prompt,), 0), MarkedText((continued.text,), 0))
    material = TaskMaterial("steering", continued.expected, windows)
    return Question(Prompt(system, user, schema(rubric), TOKENS, material), partial(_read, rubric))


def schema(rubric: SteeringRubric) -> dict[str, Any]:
    """The reply's JSON schema: the reason first, so that the grades follow from it."""
    properties: dict[str, Any] = {
        "reason": {"type": "string", "description": "one short sentence, at most 25 words"},
        "on_target": {"type": "integer", "enum": [level.grade for level in rubric.on_target]},
        "coherence": {"type": "integer", "enum": [level.grade for level in rubric.coherence]},
    }
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


def _levels(name: str, levels: Sequence[Level]) -> str:
    return f"Grades {json.dumps(name)}:\n" + "\n".join(f"{level.grade} - {level.text}" for level in levels)


def _read(rubric: SteeringRubric, text: str) -> Grades:
    reply = read_object(text)
    values = []
    for name, levels in (("on_target", rubric.on_target), ("coherence", rubric.coherence)):
        value = reply.get(name)
        if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ReplyUnusable(f"the grade {name} is missing or not a whole number: {value!r}")
        if not 0 <= value < len(levels):
            raise ReplyUnusable(f"the grade {name} = {value} is not on the rubric", Outcome.OUT_OF_RANGE)
        values.append(value)
    return Grades(*values)
