"""The answer to a question: its key, and how it is read from the ledger or from a reply.

The key is a hash of everything that decides the answer. A question that was answered in any run is never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection

from autointerp.hashing import content_hash
from autointerp.judges.base import Judge
from autointerp.ledger import calls
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.messages import Prompt, Reply, Usage, clean_text, pack_probabilities
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The result of a question: a value if `outcome` is `scored`, otherwise None and the reason."""

    value: T | None
    outcome: Outcome
    reason: str
    call_key: str | None


def call_key(judge: Judge, prompt: Prompt, repeat: int) -> str:
    """The sha-256 of everything that decides the answer: the judge's identity, the prompt, the schema, the token limit, the repeat."""
    return content_hash(
        {
            "judge": dict(judge.identity()),
            "system": prompt.system,
            "user": prompt.user,
            "schema": dict(prompt.schema),
            "max_tokens": prompt.max_tokens,
            "repeat": repeat,
        }
    )


def free_answer(
    ledger: Ledger, run_id: str, judge: Judge, prompt: Prompt, parse: Callable[[str], T], repeat: int
) -> Answer[T] | None:
    """The answer in the ledger, or that of a judge that is no LLM; None if only a paid call can answer."""
    key = call_key(judge, prompt, repeat)
    if not judge.is_llm:
        return read_reply(judge.ask(prompt), parse, key)
    with ledger.read() as tx:
        known = calls.find_answer(tx, run_id, key)
    if known is None:
        return None
    if known["state"] != calls.SCORED:
        return Answer(None, Outcome(known["state"]), known["reason"], key)
    return read_reply(Reply(known["reply"], "complete", Usage(), known["served_model"]), parse, key)


def read_reply(reply: Reply, parse: Callable[[str], T], key: str) -> Answer[T]:
    """The answer in a reply. Only a complete reply is parsed, with its probabilities packed into its text."""
    reply = pack_probabilities(reply)
    if reply.stop != "complete":
        outcome = Outcome.REFUSAL if reply.stop == "refusal" else Outcome.TRUNCATED
        return Answer(None, outcome, reply.text[:200] or reply.stop, key)
    try:
        return Answer(parse(reply.text), Outcome.SCORED, "", key)
    except ReplyUnusable as error:
        return Answer(None, error.outcome, str(error), key)
    except (ValueError, RecursionError) as error:  # a number or a nesting too large for Python to read
        return Answer(None, Outcome.PARSE_FAILURE, f"the reply cannot be read: {error}", key)


def storable(reply: Reply) -> Reply:
    """The reply as the ledger stores it: probabilities within its text, and no characters that a database rejects."""
    reply = pack_probabilities(reply)
    return replace(reply, text=clean_text(reply.text))


MAX_TRIES = 3
"""How often an explainer is asked until its explanation is usable. Each further try says why the earlier ones were refused."""


def ask_until_usable(
    ask: Callable[[Prompt, Callable[[str], str], int], Answer[str]], first: Prompt, parse: Callable[[str], str]
) -> Answer[str]:
    """The first answer that parses, or the last of `MAX_TRIES`. `ask` gets a prompt, `parse` and the number of the try."""
    refusals: list[str] = []
    answer: Answer[str]
    for number in range(MAX_TRIES):
        answer = ask(with_refusals(first, refusals), parse, number)
        if answer.outcome is not Outcome.PARSE_FAILURE:
            break
        refusals.append(answer.reason)
    return answer


def with_refusals(prompt: Prompt, refusals: Sequence[str]) -> Prompt:
    """The same question with a line for each unusable answer, saying what was wrong with it."""
    lines = "".join(f"\nAn earlier answer was refused: {reason}. Answer again." for reason in refusals)
    return replace(prompt, user=prompt.user + lines)


OnSettled = Callable[[Connection, Answer[T]], None]
"""Writes what follows from an answer, in the transaction that settles its call."""


class Ask(Protocol):
    """How a job asks its questions: `Caller.ask`, or one of the ways in which a batch answers them."""

    def __call__(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, on_settled: OnSettled[T] | None, /
    ) -> Answer[T]: ...
