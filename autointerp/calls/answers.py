"""Answers: a question's address, and what the ledger or a reply makes of it.

An address is a hash of everything that decides the answer, so that whatever was answered once, in any run, is never asked again.
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
from autointerp.messages import Prompt, Reply, Usage, pack_probabilities
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of a question: a value when `outcome` is `scored`, else None and the reason."""

    value: T | None
    outcome: Outcome
    reason: str
    call_key: str | None


def call_key(judge: Judge, prompt: Prompt, repeat: int) -> str:
    """sha-256 of everything that decides the answer: who is asked, what, with which schema and ceiling, and which repeat."""
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
    """What the ledger holds as the answer to a question, or what a judge that is no LLM answers; None where one must pay."""
    key = call_key(judge, prompt, repeat)
    if not judge.is_llm:
        return read(judge.ask(prompt), parse, key)
    with ledger.read() as tx:
        known = calls.answered(tx, run_id, key)
    if known is None:
        return None
    if known["state"] != calls.SCORED:
        return Answer(None, Outcome(known["state"]), known["reason"], key)
    return read(Reply(known["reply"], "complete", Usage(), known["served_model"]), parse, key)


def read(reply: Reply, parse: Callable[[str], T], key: str) -> Answer[T]:
    """What a reply answers; only a complete one is parsed, its probabilities folded into its text."""
    reply = pack_probabilities(reply)
    if reply.stop != "complete":
        outcome = Outcome.REFUSAL if reply.stop == "refusal" else Outcome.TRUNCATED
        return Answer(None, outcome, reply.text[:200] or reply.stop, key)
    try:
        return Answer(parse(reply.text), Outcome.SCORED, "", key)
    except ReplyUnusable as error:
        return Answer(None, error.outcome, str(error), key)
    except (ValueError, RecursionError) as error:  # numbers and nesting beyond what Python reads
        return Answer(None, Outcome.PARSE_FAILURE, f"the reply cannot be read: {error}", key)


def storable(reply: Reply) -> Reply:
    """The reply as the ledger keeps it: probabilities within its text, and nothing in that which a database does not take."""
    reply = pack_probabilities(reply)
    text = reply.text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return replace(reply, text=text)


TRIES = 3
"""How often an explainer is asked for a usable explanation; each later try says why the one before was refused."""


def usable(
    ask: Callable[[Prompt, Callable[[str], str], int], Answer[str]], first: Prompt, parse: Callable[[str], str]
) -> Answer[str]:
    """The answer to a question that is asked again, with what was wrong before, while the reply cannot be used."""
    refusals: list[str] = []
    answer: Answer[str]
    for attempt in range(TRIES):
        answer = ask(ask_again(first, refusals), parse, attempt)
        if answer.outcome is not Outcome.PARSE_FAILURE:
            break
        refusals.append(answer.reason)
    return answer


def ask_again(prompt: Prompt, refusals: Sequence[str]) -> Prompt:
    """The same question after unusable answers, saying what was wrong with each."""
    said = "".join(f"\nAn earlier answer was refused: {reason}. Answer again." for reason in refusals)
    return replace(prompt, user=prompt.user + said)


Conclude = Callable[[Connection, Answer[T]], None]
"""Writes down what follows from an answer, in the transaction that settles its call."""


class Ask(Protocol):
    """Whoever reaches a judge: `Caller.ask`, or a batch that is being put together."""

    def __call__(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, conclude: Conclude[T] | None, /
    ) -> Answer[T]: ...
