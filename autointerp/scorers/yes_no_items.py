"""Questions in which the judge answers yes or no for each of several windows, and the figures of those answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable, numbered_values, read_object
from autointerp.prompts.untrusted_text import sanitise
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, Scores, StepAnswers
from autointerp.scorers.common_questions import numbered
from autointerp.stats import answer_metrics

PER_CALL = 5
"""Windows in one question: delphi's default."""
MAX_TOKENS = 300
FIGURES = {
    "balanced_accuracy": "mean of two shares: yes answers where yes is right, and no answers where no is right",
    "f1": "harmonic mean of precision and recall; depends on how often yes is right",
    "precision": "share of the judge's yes answers that are right",
    "recall": "share of items answered with yes, of those where yes is right",
    "accuracy": "share of items answered correctly; a constant answer scores the larger class's share",
    "iou": "right yes answers as a share of all items where yes is right or was answered",
}


class Item(NamedTuple):
    """A window with the correct answer, and whether the unit is active in it at all."""

    window: MarkedText
    truth: bool
    active: bool
    left_out: bool = False
    """Whether no figure includes it, because a mark is on a token that is not counted. Earlier versions asked about such items."""


def is_silent(exemplar: Exemplar) -> bool:
    """Whether the unit is silent at every counted token of the window, not only at its mark."""
    return not any(exemplar.token_activations)


def told_apart(case: Case) -> tuple[list[Exemplar], list[Exemplar]]:
    """The judged windows in which the unit is active somewhere, and those in which it is silent throughout."""
    return [e for e in case.active if not is_silent(e)], [e for e in case.silent if is_silent(e)]


def questions(
    task: str, system: str, explanation: str, items: Sequence[Item], render: Callable[[MarkedText], str]
) -> list[Question]:
    """Ask about the items in order, `PER_CALL` in a question. No questions if `can_ask` is False."""
    if not can_ask(explanation, items):
        return []

    def question(windows: Sequence[MarkedText]) -> Question:
        prompt = Prompt(
            system=system,
            user=f"<explanation>\n{sanitise(explanation)}\n</explanation>\n{numbered(map(render, windows))}",
            schema=schema(len(windows)),
            max_tokens=MAX_TOKENS,
            material=TaskMaterial(task, explanation, tuple(windows)),
        )
        alone = [] if len(windows) == 1 else windows
        return Question(prompt, partial(read, n=len(windows)), lambda: [question([window]) for window in alone])

    return [question([item.window for item in group]) for group in groups(items)]


def groups(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items of each question."""
    return [items[i : i + PER_CALL] for i in range(0, len(items), PER_CALL)]


def schema(n: int) -> dict[str, Any]:
    """The reply's JSON schema: true or false under each item's number, so that no answer can be taken for another item's."""
    numbers = [str(i) for i in range(1, n + 1)]
    return {
        "type": "object",
        "properties": {number: {"type": "boolean"} for number in numbers},
        "required": numbers,
        "additionalProperties": False,
    }


def read(text: str, n: int) -> list[bool | None]:
    """The answers for `n` items; None for one that is unclear.

    Raises `ReplyUnusable` if all are, or if the reply's keys are not exactly the items' numbers.
    """
    reply = read_object(text)
    if all(_as_bool(reply.get(str(i))) is None for i in range(1, n + 1)):
        # Quoted in the explainer's next prompt (`calls.answers.with_refusals`), and so part of its call key: do not reword.
        raise ReplyUnusable(f"the reply answers none of the {n} items with true or false: {text[:80]!r}")
    return [_as_bool(value) for value in numbered_values(reply, n)]


def answered(items: Sequence[Item], answers: StepAnswers) -> list[tuple[Item, bool]]:
    """The items that were answered, each with its answer, without those left out."""
    replies = answers[0] if answers else ()
    pairs = []
    for group, flags in zip(groups(items), replies, strict=False):
        pairs += [(item, flag) for item, flag in zip(group, flags or (), strict=False) if flag is not None]
    return [(item, flag) for item, flag in pairs if not item.left_out]


def scores(explanation: str, items: Sequence[Item], answers: StepAnswers, not_asked: str) -> Scores:
    """All figures over the answered items; the others count as unscored, whatever went wrong with their question.

    `not_asked` is the reason if `can_ask` is False.
    """
    if not can_ask(explanation, items):
        return Scores(answer_metrics.yes_no([], []), 0, 0, not_asked)
    pairs = answered(items, answers)
    truth, flags = [item.truth for item, _ in pairs], [flag for _, flag in pairs]
    n = sum(not item.left_out for item in items)
    return Scores(answer_metrics.yes_no(truth, flags), len(pairs), n - len(pairs), _reasons(truth, flags))


def _reasons(truth: Sequence[bool], flags: Sequence[bool]) -> dict[str, str]:
    """Why each figure of `FIGURES` is undefined, if it is."""
    one_class = f"no item was answered where {'no' if any(truth) else 'yes'} is right"
    reasons = dict.fromkeys(("balanced_accuracy", "f1", "recall", "iou"), one_class)
    return reasons | {"precision": "the judge never answered yes"}


def one_class_only(case: Case) -> str:
    """Why a unit's windows cannot be told apart by its activity."""
    active, silent = told_apart(case)
    if not active:
        return "no judged window in which the unit is active"
    return (
        "no active and silent windows of similar length"
        if silent
        else "no window in which the unit is silent throughout"
    )


def can_ask(explanation: str, items: Sequence[Item]) -> bool:
    """Whether there is an explanation, and at least one true and one false item to tell apart by it."""
    return bool(explanation) and len({item.truth for item in items}) == 2


def _as_bool(value: object) -> bool | None:
    """A boolean, or one written as 0, 1 or a word; None for anything else."""
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.strip().casefold())
    return bool(value) if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)) else None
