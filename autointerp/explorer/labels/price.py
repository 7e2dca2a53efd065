"""The price of questions about units of an index, before any is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autointerp.calls import answers, groups, server_probe
from autointerp.calls.answers import call_key
from autointerp.calls.cost_limits import input_bound
from autointerp.judges import cost_model, prices
from autointerp.judges.base import Judge
from autointerp.ledger import calls
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import is_llm


@dataclass(frozen=True)
class Price:
    """What explaining and grading some units costs. Dollars are None if a price is unknown, and 0 for a judge that is not an LLM."""

    explainer: str
    judge: str
    units: int
    """Units that are asked about; those without enough examples are left out."""
    questions: int
    """Questions in all, those that are answered already included."""
    calls: int
    """Calls to LLMs that are left to make, if each is answered at the first attempt."""
    input_tokens: int
    output_tokens: int
    usd: float | None
    """Expected dollars."""
    most_usd: float | None
    """Dollars at most: each prompt as long as its bytes, each reply as long as it may be, and every attempt needed."""
    is_llm: bool
    problem: str = ""
    """Why nothing can be asked, such as a missing key; empty if it can."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The questions of one stage to a judge: a sample of them, how many there are in all, and at most how many calls each may take."""

    settings: JudgeSettings
    prompts: Sequence[Prompt]
    n: int
    tries: int = 1
    alone: int = 0
    """Questions about one item each that may follow a question about several."""


@dataclass(frozen=True)
class StagePrice:
    """The price of one stage's questions."""

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    most_usd: float | None


TRIES_TO_EXPLAIN = answers.MAX_TRIES
TRIES_OF_GROUP = groups.TRIES
FREE = StagePrice(0, 0, 0, 0.0, 0.0)


def price_of(asked: Asked, stage: str, ledger: Ledger, run_id: str, judge: Judge | None) -> StagePrice:
    """The price of a stage. Questions that the ledger answers cost nothing, if the judge could be opened to know them."""
    if not is_llm(asked.settings.model) or not asked.prompts:
        return FREE
    with ledger.read() as tx:
        left = [
            p for p in asked.prompts if judge is None or calls.find_answer(tx, run_id, call_key(judge, p, 0)) is None
        ]
        earlier = calls.latest_measured(tx, asked.settings.model, stage, cost_model.SAMPLE)
    if not left:
        return FREE
    share = asked.n / len(asked.prompts)
    n = round(share * len(left))
    cost = cost_model.expected(asked.settings, left, calls=n, earlier=earlier)
    price, batch = prices.price_of(asked.settings.model, asked.settings), asked.settings.transport == "batch"
    bounds = [prices.max_cost(input_bound(p), p.max_tokens, price, batch=batch) for p in left]
    known = [usd for usd in bounds if usd is not None]
    most = None
    if len(known) == len(bounds):
        # A sample's dearest question stands for those that were not made.
        of_all = sum(known) if n == len(left) else n * max(known)
        most = asked.tries * of_all + (asked.alone + server_probe.most_calls(asked.settings)) * max(known)
    return StagePrice(n, cost.input_tokens, cost.output_tokens, cost.usd, most)


def total(values: Sequence[float | None]) -> float | None:
    """The sum; None if a value is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
