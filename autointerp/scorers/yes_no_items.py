"""Windows that a judge answers with yes or no, several in one question, and the figures of those answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable, read_object
from autointerp.prompts.untrusted_text import harmless
from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case, Question, Scores
from autointerp.scorers.common_questions import numbered
from autointerp.stats import answer_metrics

PER_CALL = 5
"""Windows in one question: delphi's default."""
MAX_TOKENS = 300
FIGURES = {
    "balanced_accuracy": "mean of the shares of right and of wrong items that are told as such",
    "f1": "harmonic mean of precision and recall; depends on how many items are right",
    "precision": "share of the judge's yes-answers that are right",
    "recall": "share of right items that got a yes",
    "accuracy": "share of items told right; a constant answer gets the larger class's share",
    "iou": "right yes-answers among all items that are right or got a yes",
}


class Item(NamedTuple):
    """A window, the answer that is right for it, and whether the unit is active in it at all."""

    window: MarkedText
    truth: bool
    active: bool


def silent(exemplar: Exemplar) -> bool:
    """Whether the unit is at rest at every token of the window, not only at its mark."""
    return not any(exemplar.token_activations)


def draw(case: Case, name: str) -> random.Random:
    """The scorer's own random numbers for a unit: the same whenever it is asked again."""
    return random.Random(f"{case.seed}:{name}")


def ask(
    task: str, system: str, explanation: str, items: Sequence[Item], show: Callable[[MarkedText], str]
) -> list[Question]:
    """The items in order, `PER_CALL` a question; no question where there is nothing to tell apart."""
    if not can_ask(explanation, items):
        return []
    questions = []
    for lot in lots(items):
        windows = tuple(item.window for item in lot)
        prompt = Prompt(
            system=system,
            user=f"<explanation>\n{harmless(explanation)}\n</explanation>\n{numbered(map(show, windows))}",
            schema=schema(len(lot)),
            max_tokens=MAX_TOKENS,
            material=TaskMaterial(task, explanation, windows),
        )
        questions.append(Question(prompt, partial(read, n=len(lot))))
    return questions


def lots(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items of each question."""
    return [items[i : i + PER_CALL] for i in range(0, len(items), PER_CALL)]


def schema(n: int) -> dict[str, Any]:
    """Of a reply with a true or false under each item's number, so that no answer can slip to another item."""
    numbers = [str(i) for i in range(1, n + 1)]
    return {
        "type": "object",
        "properties": {number: {"type": "boolean"} for number in numbers},
        "required": numbers,
        "additionalProperties": False,
    }


def read(text: str, n: int) -> list[bool | None]:
    """The answers of `n` items, None where one is missing or is neither true nor false. Raises `ReplyUnusable` without any."""
    reply = read_object(text)
    answers = [_flag(reply.get(str(i))) for i in range(1, n + 1)]
    if all(answer is None for answer in answers):
        raise ReplyUnusable(f"the reply answers none of the {n} items with true or false: {text[:80]!r}")
    return answers


def answered(items: Sequence[Item], brought: Brought) -> list[tuple[Item, bool]]:
    """The items that got an answer, with it."""
    replies = brought[0] if brought else ()
    pairs = []
    for lot, answers in zip(lots(items), replies, strict=False):
        pairs += [(item, said) for item, said in zip(lot, answers or (), strict=False) if said is not None]
    return pairs


def scores(explanation: str, items: Sequence[Item], brought: Brought) -> Scores:
    """All figures of the items that got an answer; the others are unscored, whatever became of their question."""
    pairs = answered(items, brought)
    values = answer_metrics.yes_no([item.truth for item, _ in pairs], [said for _, said in pairs])
    return Scores(values, len(pairs), len(items) - len(pairs) if can_ask(explanation, items) else 0)


def can_ask(explanation: str, items: Sequence[Item]) -> bool:
    """Whether there is an explanation, and something to tell apart by it: items that are right and items that are wrong."""
    return bool(explanation) and len({item.truth for item in items}) == 2


def _flag(value: object) -> bool | None:
    """True and false as such, as 1 and 0, or in words."""
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.strip().casefold())
    return bool(value) if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)) else None
