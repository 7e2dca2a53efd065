"""Presence by a judge: whether the explanation of a feature says a concept, or a subset of it, specifically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Outcome
from autointerp.spec.rubric import FOLDER, Level, Part, load_toml
from autointerp.studies.judging import Question
from autointerp.studies.workbench import Workbench

DEFAULT = FOLDER / "completeness" / "presence.toml"
TOKENS = 256
"""Token limit of a reply."""


class Example(Part):
    """A worked example, shown to the judge."""

    concept: str = Field(min_length=1)
    noun: str = Field(min_length=1)
    explanation: str = Field(min_length=1)
    grade: int
    reason: str = Field(min_length=1)


class PresenceRubric(Part):
    """Two levels, absent and present, and how to apply them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(min_length=1)
    """Raise it with every change that can alter a grade."""
    source: str = Field(min_length=1)
    instructions: str = Field(min_length=1)
    levels: tuple[Level, ...] = Field(min_length=2, max_length=2, strict=False)
    examples: tuple[Example, ...] = Field((), strict=False)

    @model_validator(mode="after")
    def _grades_fit(self) -> PresenceRubric:
        grades = [level.grade for level in self.levels]
        if grades != [0, 1]:
            raise ValueError(f"levels have grades {grades}: write 0 for absent, then 1 for present")
        if bad := [example for example in self.examples if example.grade not in grades]:
            raise ValueError(
                f"grade {bad[0].grade} of the example {bad[0].explanation[:40]!r} is not a level: use 0 or 1"
            )
        return self


@dataclass(frozen=True)
class Claim:
    """That a feature with this explanation is about this concept."""

    concept: str
    noun: str
    explanation: str


def load_rubric(path: str | Path = DEFAULT) -> PresenceRubric:
    """The rubric in a file. Raises `UsageError` on one line."""
    return load_toml(PresenceRubric, "presence rubric", Path(path))


def judge(bench: Workbench, rubric: PresenceRubric, claims: list[Claim]) -> dict[Claim, bool | None]:
    """Whether each claim holds; None for one that could not be judged. The same claim is asked once."""
    distinct = list(dict.fromkeys(claims))
    answers = bench.ask([question(rubric, claim) for claim in distinct]) if distinct else []
    return {claim: answer.value for claim, answer in zip(distinct, answers, strict=True)}


def question(rubric: PresenceRubric, claim: Claim) -> Question[bool]:
    """The question of one claim."""
    levels = "Grades:\n" + "\n".join(f"{level.grade} - {level.text}" for level in rubric.levels)
    examples = [
        f"{_case(Claim(each.concept, each.noun, each.explanation))}\nReason: {each.reason}\nGrade: {each.grade}"
        for each in rubric.examples
    ]
    system = [rubric.instructions.strip(), levels, *(["Examples:", *examples] if examples else [])]
    system.append("Answer with a short reason, one sentence, and then the grade.")
    material = TaskMaterial("presence", claim.explanation, (MarkedText((claim.concept,), 0),))
    return Question(Prompt("\n\n".join(system), _case(claim), schema(), TOKENS, material), _read)


def schema() -> dict[str, Any]:
    """The reply's JSON schema: the reason first, so that the grade follows from it."""
    properties: dict[str, Any] = {
        "reason": {"type": "string", "description": "one short sentence, at most 25 words"},
        "grade": {"type": "integer", "enum": [0, 1]},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _case(claim: Claim) -> str:
    return (
        f"<explanation>\n{sanitise(claim.explanation)}\n</explanation>\n"
        f"<concept>\n{sanitise(claim.concept)} ({sanitise(claim.noun)})\n</concept>"
    )


def _read(text: str) -> bool:
    value = read_object(text).get("grade")
    if isinstance(value, str) and value.strip() in ("0", "1"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ReplyUnusable(f"the grade is missing or not a whole number: {value!r}")
    if value not in (0, 1):
        raise ReplyUnusable(f"the grade {value} is not on the rubric", Outcome.OUT_OF_RANGE)
    return value == 1
