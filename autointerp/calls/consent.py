"""Consent to the cost of a run or of a judge's check: given by a budget, by `--yes`, or by a person at the terminal."""

from __future__ import annotations

from autointerp.errors import BudgetExceeded, UsageError
from autointerp.formatting import dollars
from autointerp.progress import Progress

FREE_USD = 1.0
"""A forecast up to this many dollars needs no consent."""


def require(
    usd: float | None, budget_usd: float | None, progress: Progress, *, agreed: bool, name: str = "budget.usd"
) -> None:
    """Ask for consent if a run without a budget is expected to cost more than `FREE_USD`.

    `usd` is the forecast, None if a price is unknown, which is not asked about; `name` is that of the budget. Raises `BudgetExceeded`
    if the answer is no, and `UsageError` if nobody can be asked.
    """
    if agreed or budget_usd is not None or usd is None or usd <= FREE_USD:
        return
    answer = progress.confirm(f"This will cost about {dollars(usd)}, and {name} is not set. Go on?")
    if answer is None:
        limit = f"--set budget.usd={_limit(usd)}" if name == "budget.usd" else f"{name} {_limit(usd)}"
        raise UsageError(
            f"the forecast is about {dollars(usd)} and {name} is not set: give --yes, or a limit such as {limit}"
        )
    if not answer:
        raise BudgetExceeded("nothing was asked and nothing spent; what was read so far is kept for the same command")


def _limit(usd: float) -> str:
    """A round budget with room for the forecast."""
    return f"{max(2, round(1.5 * usd)):d}"
