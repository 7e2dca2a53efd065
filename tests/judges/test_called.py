"""Functions and models of inspect_ai as judges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from autointerp.errors import UsageError
from autointerp.judges.base import MayRetry, MustStop
from autointerp.judges.called import CalledJudge, name_of
from autointerp.messages import ExplainMaterial, Prompt, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

PROMPT = Prompt("Be strict.", "The case.", {"type": "object"}, 200, ExplainMaterial((), ()))


def judge(function: Any) -> CalledJudge:
    return CalledJudge(JudgeSettings(model=name_of(function)), function)


def test_a_function_reads_the_prompt_as_one_text_or_in_parts() -> None:
    seen: list[Any] = []
    reply = judge(lambda prompt: seen.append(prompt) or "yes").ask(PROMPT)
    assert (reply.text, reply.stop, reply.usage.known) == ("yes", "complete", False)
    assert seen == ["Be strict.\n\nThe case."]
    assert (seen[0].system, seen[0].user, seen[0].schema, seen[0].max_tokens) == (
        "Be strict.", "The case.", {"type": "object"}, 200,
    )  # fmt: skip


def test_a_mistake_stops_and_another_error_is_tried_again() -> None:
    for function, said in ((lambda prompt: prompt.usr, "AttributeError"), (lambda prompt: 3, "returned a int")):
        with pytest.raises(MustStop, match=said):
            judge(function).ask(PROMPT)

    def away(prompt: str) -> str:
        raise OSError("no route")

    with pytest.raises(MayRetry, match="no route"):
        judge(away).ask(PROMPT)
    with pytest.raises(UsageError, match="a judge is a int"):
        name_of(3)
    with pytest.raises(UsageError, match="call ai"):
        CalledJudge(JudgeSettings(model="python/away"))


def test_another_version_of_a_function_has_another_name() -> None:
    names = []
    for body in ("'1'", "'2'", "'1'"):
        scope: dict[str, Any] = {}
        exec(f"def grade(prompt):\n    return [{body} for _ in 'x'][0]", scope)
        names.append(name_of(scope["grade"]))
    assert names[0] == names[2] != names[1]
    assert names[0].startswith("python/grade-")


class Model:
    """The part of inspect_ai's `Model` that is used (0.3.285)."""

    api = object()

    def __str__(self) -> str:
        return "openai/gpt-x"

    async def generate(self, text: str) -> Any:
        usage = SimpleNamespace(
            input_tokens=7, output_tokens=3, input_tokens_cache_write=None, input_tokens_cache_read=2
        )
        return SimpleNamespace(completion=text.upper(), stop_reason="max_tokens", usage=usage, model="gpt-x-2026")


def test_a_model_of_inspect_answers_with_its_usage() -> None:
    asked = judge(Model())
    reply = asked.ask(PROMPT)
    asked.close()
    assert asked.name == "python/openai/gpt-x"
    assert (reply.text, reply.stop, reply.served_model) == ("BE STRICT.\n\nTHE CASE.", "truncated", "gpt-x-2026")
    assert reply.usage == Usage(7, 3, 0, 2)
