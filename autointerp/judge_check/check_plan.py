"""What a check of a judge asks, and of whom: the judge's settings, the graded items, and every question made of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from autointerp.calls.caller import price_within
from autointerp.errors import UsageError
from autointerp.judge_check import graded_set
from autointerp.judge_check.graded_set import GradedSet, Item
from autointerp.judges import local_server
from autointerp.ledger.budgets import Limits
from autointerp.messages import Prompt
from autointerp.progress import Progress
from autointerp.prompts import grouped_grades, single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Ask, Grade
from autointerp.spec import rubric, toml_files
from autointerp.spec.rubric import Rubric
from autointerp.spec.sections import Judge as JudgeSettings


@dataclass(frozen=True)
class Plan:
    """What is asked of whom. `shuffle` asks all items a second time, in the order that this seed gives."""

    settings: JudgeSettings
    items: tuple[Item, ...]
    graded: GradedSet
    rubric: Rubric
    ask: Ask = "reason"
    per_call: int = 1
    shuffle: int | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Question:
    """Some items in one prompt; `first` tells the first asking of each from the second."""

    items: tuple[Item, ...]
    prompt: Prompt
    parse: Callable[[str], list[Grade | ReplyUnusable]]
    first: bool


class _Settings(BaseModel):
    """What `--set` may override."""

    model_config = ConfigDict(extra="forbid")
    judge: JudgeSettings


@contextmanager
def choose(
    model: str | None, base_url: str | None, llm: bool, overrides: Sequence[str], progress: Progress
) -> Iterator[JudgeSettings]:
    """The judge's settings, its server running for as long as the context lasts where it is ours. Raises `UsageError`."""
    with ExitStack() as stack:
        table: dict[str, Any] = {"model": model} if model else {}
        if llm and (model or base_url):
            raise UsageError("--llm serves a judge of its own: leave out the name and --base-url")
        if llm:
            address = stack.enter_context(local_server.serve(local_server.weights(progress.tell)))
            table = local_server.judge_settings(address)
        elif base_url:
            name = model or f"openai-compatible/{local_server.served_model(base_url)}"
            table = {"model": name, "base_url": base_url}
        if not table:
            raise UsageError("name a judge, such as anthropic/MODEL or embedded, or give --base-url or --llm")
        data = {"judge": table}
        for override in overrides:
            toml_files.apply(data, override)
        try:
            settings = _Settings.model_validate(data).judge
        except ValidationError as error:
            raise UsageError(toml_files.wrong_key(error, _Settings, "judges check")) from None
        yield settings


def make_plan(
    settings: JudgeSettings,
    *,
    ask: Ask,
    per_call: int,
    shuffle: int | None,
    most: int | None,
    usd: float | None,
    path: Path | None = None,
) -> Plan:
    """The plan for a set's file, or the set that comes with the program. Raises `UsageError`."""
    if per_call > 1 and ask == "logprobs":
        raise UsageError(f"--per-call {per_call} and --ask logprobs exclude each other: one digit answers one item")
    if shuffle is not None and per_call == 1:
        raise UsageError("--shuffle compares orders of items in a question: give --per-call 2 or more with it")
    found = graded_set.load(path)
    rubric_ = rubric.load(found.rubric)
    graded_set.check_grades(found, rubric_)
    price_within(settings, Limits(usd))
    return Plan(settings, tuple(graded_set.draw(found.items, most)), found, rubric_, ask, per_call, shuffle, usd)


def questions(plan: Plan) -> list[Question]:
    """Every question of a check. Items that share one are mixed, by a fixed seed, and then by `plan.shuffle`."""
    if plan.per_call == 1:
        return [_question(plan, (item,), True) for item in plan.items]
    asked = []
    for first, seed in ((True, 0), (False, plan.shuffle)):
        if seed is not None:
            mixed = list(plan.items)
            random.Random(f"{seed} {first}").shuffle(mixed)
            groups = [tuple(mixed[i : i + plan.per_call]) for i in range(0, len(mixed), plan.per_call)]
            asked += [_question(plan, group, first) for group in groups]
    return asked


def _question(plan: Plan, items: tuple[Item, ...], first: bool) -> Question:
    most = plan.settings.max_output_tokens
    if plan.per_call == 1:
        [item] = items
        prompt = single_grade.prompt(plan.rubric, item.material, most, plan.ask)
        return Question(items, prompt, lambda text: [single_grade.parse(plan.rubric, text, plan.ask)], first)
    assert plan.ask != "logprobs"
    prompt = grouped_grades.prompt(plan.rubric, [item.material for item in items], most, plan.ask)
    return Question(items, prompt, partial(grouped_grades.parse, plan.rubric, len(items)), first)
