"""What a call costs, from the dated table in `prices.toml`; a price that is not known is None and never 0."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from autointerp.judges.base import Usage

if TYPE_CHECKING:
    from autointerp.spec import Judge as JudgeSettings

_SNAPSHOT = re.compile(r"-(latest|\d{8}|\d{4}-\d{2}-\d{2})$")
_NOTICE_DAYS = 90


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens, by class. `source` says where from, as of when; `uncertain`: unconfirmed."""

    input: float
    output: float
    cache_write: float
    cache_read: float
    batch_input: float
    batch_output: float
    source: str
    uncertain: bool = False


FREE = Price(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "the embedded judge runs on this machine")


def price_of(model: str, settings: JudgeSettings | None = None) -> Price | None:
    """The price of `provider/model`, or None where it is not known.

    Prices given in the judge's settings win; cached and batched tokens then cost as much as others. A dated snapshot
    (`-20251001`, `-2026-04-23`, `-latest`) costs what its model does; no looser likeness counts.
    """
    if settings is not None and settings.input_usd_per_mtok is not None and settings.output_usd_per_mtok is not None:
        given, out = settings.input_usd_per_mtok, settings.output_usd_per_mtok
        return Price(given, out, given, given, given, out, "judge.input_usd_per_mtok and judge.output_usd_per_mtok")
    provider, _, name = model.partition("/")
    if provider == "embedded":
        return FREE
    table = _table().get(provider)
    if table is None:
        return None
    row = table["models"].get(name) or table["models"].get(_SNAPSHOT.sub("", name))
    return None if row is None else _price(row, table, f"{table['source']}, as of {_table()['as_of']}")


def cost(usage: Usage, price: Price | None) -> float | None:
    """Dollars of one call, or None where its price or its usage is unknown."""
    if price is None or not usage.known:
        return None
    micro = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_write_tokens * price.cache_write
        + usage.cache_read_tokens * price.cache_read
    )
    return micro / 1e6


def most(input_tokens: int, output_tokens: int, price: Price | None) -> float | None:
    """The most that a call can cost in dollars: all its input at the dearest class, all its output allowance used."""
    if price is None:
        return None
    return (input_tokens * max(price.input, price.cache_write) + output_tokens * price.output) / 1e6


def retirement_note(model: str, today: date | None = None) -> str | None:
    """A sentence where `provider/model` is retired or retires within 90 days, as its vendor announced, else None."""
    provider, _, name = model.partition("/")
    dates = _table().get(provider, {}).get("retires", {})
    day = dates.get(name) or dates.get(_SNAPSHOT.sub("", name))
    if day is None:
        return None
    days = (day - (today or date.today())).days
    if days > _NOTICE_DAYS:
        return None
    when = (
        f"was announced to retire on {day}"
        if days <= 0
        else f"retires on {day}, in {days} day{'s' if days > 1 else ''}"
    )
    return f"{model} {when}: results made with it cannot be extended afterwards, name another model for new runs."


def _price(row: dict[str, Any], table: dict[str, Any], source: str) -> Price:
    half = table["batch_share"]
    return Price(
        input=row["input"],
        output=row["output"],
        cache_write=row.get("cache_write", row["input"]),
        cache_read=row.get("cache_read", row["input"]),
        batch_input=row["input"] * half,
        batch_output=row["output"] * half,
        source=source,
        uncertain=row.get("uncertain", False),
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("autointerp.judges").joinpath("prices.toml").read_text(encoding="utf-8"))
