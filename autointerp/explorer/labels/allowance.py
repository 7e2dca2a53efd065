"""What an explorer may spend on explanations and grades in all, and how that is said when it starts."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.formatting import dollars
from autointerp.judges import prices
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.spec.addresses import is_loopback
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec

DEFAULT_USD = 1.0
"""Dollars without `--usd` and without a budget in the spec."""


@dataclass(frozen=True)
class Allowance:
    """Dollars at most, or None for no bound."""

    usd: float | None
    line: str = ""
    """A line for the terminal; empty if no judge of the spec costs anything."""


def allowance(spec: Spec, given: float | None, ledger: Ledger | None, run_id: str) -> Allowance:
    """What may be spent: `given`, or what is left of the run's own budget, or `DEFAULT_USD`. Judges on this machine without a price have no
    bound, unless one is given."""
    judges = [each for each in (spec.explained_by, spec.judge) if is_llm(each.model)]
    known = {each.model: prices.price_of(each.model, each) for each in judges}
    free = all(known[each.model] is None and is_loopback(each.address) for each in judges)
    if free and given is None:
        return Allowance(None)
    usd, why = (given, "--usd") if given is not None else _by_default(spec, ledger, run_id)
    names = " and ".join(dict.fromkeys(each.model for each in judges))
    line = f"explanations and grades that are asked for on the pages may cost {dollars(usd)} in all ({why}): {names}"
    return Allowance(usd, line if judges else "")


def _by_default(spec: Spec, ledger: Ledger | None, run_id: str) -> tuple[float, str]:
    if spec.budget.usd is None:
        return DEFAULT_USD, "--usd changes it"
    row = None
    if ledger is not None:
        with ledger.read() as tx:
            row = runs.get(tx, run_id)
    spent = 0.0 if row is None else row["spent_usd"] + row["reserved_usd"] + row["lost_usd"]
    return max(0.0, spec.budget.usd - spent), "what is left of the run's budget; --usd changes it"
