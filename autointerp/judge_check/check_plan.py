"""The plan of a judge check: the judge's settings, the graded items, and the questions about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from autointerp.calls.cost_limits import price_within
from autointerp.errors import UsageError
from autointerp.judge_check import graded_set, graded_table
from autointerp.judge_check.graded_set import GradedSet, Item
from autointerp.judges import local_server
from autointerp.ledger.budgets import Limits
from autointerp.messages import Prompt
from autointerp.progress import Progress
from autointerp.prompts import grouped_grades, single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.single_grade import Ask, Grade
from autointerp.spec import rubric, toml_files
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.rubric import Rubric


@dataclass(frozen=True)
class Plan:
    """Which judge is asked about which items, and how."""

    settings: JudgeSettings
    items: tuple[Item, ...]
    graded: GradedSet
    rubric: Rubric
    ask: Ask = "reason"
    per_call: int = 1
    shuffle: int | None = None
    """Seed of the order in which all items are asked a second time; None to ask once."""
    usd: float | None = None
    """Budget in dollars."""
    agreed: bool = False
    """Whether consent to the cost is given without a budget."""


@dataclass(frozen=True)
class Question:
    """One prompt about one or more items. `first` is False for the second time that the items are asked."""

    items: tuple[Item, ...]
    prompt: Prompt
    parse: Callable[[str], list[Grade | ReplyUnusable]]
    first: bool


class _Settings(BaseModel):
    """The part of a spec that `--set` may override."""

    model_config = ConfigDict(extra="forbid")
    judge: JudgeSettings


@contextmanager
def judge_settings(
    model: str | None, base_url: str | None, llm: bool, overrides: Sequence[str], progress: Progress
) -> Iterator[JudgeSettings]:
    """The judge's settings from the command line. With `llm`, a local server runs as long as the context. Raises `UsageError`."""
    with ExitStack() as stack:
        table: dict[str, Any] = {"model": model} if model else {}
        if llm and (model or base_url):
            raise UsageError("--llm starts a local judge: leave out the name and --base-url")
        if llm:
            address = stack.enter_context(local_server.serve(local_server.weights(progress.update)))
            table = local_server.judge_settings(address)
        elif base_url:
            named = any(override.partition("=")[0].strip() == "judge.model" for override in overrides)
            name = model or ("" if named else f"openai-compatible/{local_server.served_model(base_url)}")
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
    agreed: bool = False,
) -> Plan:
    """Plan a check with at most `most` items of the set in a file, or of the set that comes with the program. Raises `UsageError`."""
    if per_call > 1 and ask == "logprobs":
        raise UsageError(
            f"--per-call {per_call} and --ask logprobs exclude each other: the reply is one digit, for one item"
        )
    if shuffle is not None and per_call == 1:
        raise UsageError("--shuffle changes the order of items within a question: it needs --per-call 2 or more")
    graded = graded_table.load(path) if path and path.suffix.lower() in graded_table.READERS else graded_set.load(path)
    rubric_ = rubric.load(graded.rubric)
    graded_set.check_grades(graded, rubric_)
    price_within(settings, Limits(usd))
    items = tuple(graded_set.sample(graded.items, most))
    return Plan(settings, items, graded, rubric_, ask, per_call, shuffle, usd, agreed)


def questions(plan: Plan) -> list[Question]:
    """All questions of a check. Items that share a question are shuffled with a fixed seed, and the second time with `plan.shuffle`."""
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


def alone(plan: Plan, question: Question) -> list[Question]:
    """The same question about each of its items alone."""
    return [_question(replace(plan, per_call=1), (item,), question.first) for item in question.items]


def _question(plan: Plan, items: tuple[Item, ...], first: bool) -> Question:
    max_tokens = plan.settings.max_output_tokens
    if plan.per_call == 1:
        [item] = items
        prompt = single_grade.prompt(plan.rubric, item.material, max_tokens, plan.ask)
        return Question(items, prompt, lambda text: [single_grade.parse(plan.rubric, text, plan.ask)], first)
    assert plan.ask != "logprobs"
    prompt = grouped_grades.prompt(plan.rubric, [item.material for item in items], max_tokens, plan.ask)
    return Question(items, prompt, partial(grouped_grades.parse, plan.rubric, len(items)), first)
