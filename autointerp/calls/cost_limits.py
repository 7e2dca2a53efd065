"""What a call can cost, and the budgets that limit a run."""

from __future__ import annotations

import json

from autointerp.errors import BudgetExceeded, UsageError
from autointerp.formatting import dollars
from autointerp.judges import prices
from autointerp.judges.providers.keys import check_hosts
from autointerp.judges.registry import check_asking, check_transport
from autointerp.ledger.budgets import BudgetShortfall, Limits
from autointerp.messages import Prompt
from autointerp.settings import Settings
from autointerp.spec import judge_sections
from autointerp.spec.spec import Spec

OVERHEAD_TOKENS = 400
"""Tokens that a provider may add around a prompt, for roles and for the schema."""


def budget_error(short: BudgetShortfall) -> BudgetExceeded:
    """The error of a budget that the next call could exceed."""
    name = "budget.usd" if short.scope.startswith("run ") else f"the budget of {short.scope}"
    more = f" and up to {dollars(short.lost)} for replies that were lost" if short.lost else ""
    return BudgetExceeded(
        f"{name} = {short.limit:g} could be exceeded by the next call: {dollars(short.spent)} spent{more}, up to"
        f" {dollars(short.needed)} needed; raise it and run the same command to continue"
    )


def price_within(settings: judge_sections.Judge, limits: Limits) -> prices.Price | None:
    """The price of a judge, or None if it is unknown. Raises `UsageError` for an unknown price under a budget."""
    price = prices.price_of(settings.model, settings)
    limit, name = (limits.run, "budget.usd") if limits.run is not None else (limits.month, "AUTOINTERP_MONTH_USD")
    if limit is not None and price is None:
        raise UsageError(
            f"{name} = {limit:g} cannot be kept: the price of {settings.model} is unknown; give"
            " judge.input_usd_per_mtok and judge.output_usd_per_mtok, or remove the budget"
        )
    return price


def input_bound(prompt: Prompt) -> int:
    """An upper bound on a prompt's tokens: no tokenizer makes more tokens than there are bytes."""
    schema = json.dumps(dict(prompt.schema))
    return sum(len(text.encode("utf-8", "replace")) for text in (prompt.system, prompt.user, schema)) + OVERHEAD_TOKENS


def check_judges(spec: Spec) -> None:
    """Raise `UsageError` if a judge of the spec does not support the spec's transport, its `score.ask` or its budget, or if
    a key would be sent to the servers of several hosts."""
    check_asking(spec)
    check_hosts(spec.judges)
    for settings in spec.judges:
        price_within(settings, run_limits(spec))
        check_transport(settings)


def run_limits(spec: Spec) -> Limits:
    """The budgets that limit a run: its own, and that of the calendar month."""
    return Limits(spec.budget.usd, Settings.from_env().month_usd)
