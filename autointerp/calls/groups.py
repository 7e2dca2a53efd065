"""Asks one question about several numbered items. A reply that cannot be assigned to them is not read, and the items are asked about again.

A reply that is numbered from 0, or that skips an item, would give each item its neighbour's answer. So the group is asked once more, with
the keys that the answer must have, and after that each item alone, where there is nothing to mix up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, Ask, OnSettled, with_refusals
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt
from autointerp.records import Outcome

T = TypeVar("T")


class Question(Protocol):
    """A question to the judge, and the parser of its reply, which raises `ReplyUnusable`."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def parse(self) -> Callable[[str], Any]: ...


TRIES = 2
"""How often a group is asked before its items are asked about alone."""


def ask_group(ask: Ask, question: Question, n: int, job: Job, repeat: int, on_settled: OnSettled[T]) -> bool:
    """Ask about `n` items until the reply can be read, at most `TRIES` times. Returns whether it was.

    `on_settled` gets the answer, unless its outcome is a parse failure, before the answer is committed.
    """
    # Says nothing of the refused reply, so that the second question does not depend on it.
    refusal = f"it must be one JSON object whose keys are exactly the numbers 1 to {n}"
    for number in range(TRIES):
        prompt = with_refusals(question.prompt, [refusal] * number)
        answer: Answer[T] = ask(prompt, question.parse, job, repeat, partial(_if_read, on_settled))
        if _is_read(answer):
            return True
    return False


def ask_alone(ask: Ask, questions: Sequence[Question], job: Job) -> Answer[list[Any]]:
    """The answers to questions about one item each, joined into one list with None for an item without an answer."""
    answers: list[Answer[list[Any]]] = [ask(question.prompt, question.parse, job, 0, None) for question in questions]
    read = [answer for answer in answers if answer.value]
    if not read:
        return answers[0]
    values = [answer.value[0] if answer.value else None for answer in answers]
    return Answer(values, Outcome.SCORED, "", read[0].call_key)


def _if_read(on_settled: OnSettled[T], tx: Connection, answer: Answer[T]) -> None:
    if _is_read(answer):
        on_settled(tx, answer)


def _is_read(answer: Answer[T]) -> bool:
    return answer.outcome is not Outcome.PARSE_FAILURE
