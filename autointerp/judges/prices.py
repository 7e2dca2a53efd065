"""What a call costs, from the dated table in `prices.toml`; a price that is not known is None and never 0."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from autointerp.messages import Usage
from autointerp.spec.sections import Judge as JudgeSettings

_SNAPSHOT = re.compile(r"-(latest|\d{8}|\d{4}-\d{2}-\d{2})$")
_NOTICE_DAYS = 90


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens, by class. `source` says where from, as of when; `uncertain`: unconfirmed.

    Batches: Anthropic documents half of all four classes, and that the discounts of caching and batches multiply; its
    `batch_cache_write` is that of the one-hour cache, which batches ask for. OpenAI documents half of input and output.
    Half of its cached classes is an assumption: for some models a cached token of a batch may cost as much as another.
    """

    input: float
    output: float
    cache_write: float
    cache_read: float
    batch_input: float
    batch_output: float
    batch_cache_write: float
    batch_cache_read: float
    source: str
    uncertain: bool = False


FREE = Price(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "the embedded judge runs on this machine")


def price_of(model: str, settings: JudgeSettings | None = None) -> Price | None:
    """The price of `provider/model`, or None where it is not known.

    Prices given in the judge's settings win; cached and batched tokens then cost as much as others. A dated snapshot
    (`-20251001`, `-2026-04-23`, `-latest`) costs what its model does; no looser likeness counts.
    """
    if settings is not None and settings.input_usd_per_mtok is not None and settings.output_usd_per_mtok is not None:
        given, out = settings.input_usd_per_mtok, settings.output_usd_per_mtok
        source = "judge.input_usd_per_mtok and judge.output_usd_per_mtok"
        return Price(given, out, given, given, given, out, given, given, source)
    provider, _, name = model.partition("/")
    if provider == "embedded":
        return FREE
    table = _table().get(provider)
    if table is None:
        return None
    row = table["models"].get(name) or table["models"].get(_SNAPSHOT.sub("", name))
    return None if row is None else _price(row, table, f"{table['source']}, as of {_table()['as_of']}")


def cost(usage: Usage, price: Price | None, *, batch: bool = False) -> float | None:
    """Dollars of one call, or of one item of a batch; None where its price or its usage is unknown."""
    if price is None or not usage.known:
        return None
    ordinary = (price.input, price.output, price.cache_write, price.cache_read)
    batched = (price.batch_input, price.batch_output, price.batch_cache_write, price.batch_cache_read)
    tokens = (usage.input_tokens, usage.output_tokens, usage.cache_write_tokens, usage.cache_read_tokens)
    return sum(n * rate for n, rate in zip(tokens, batched if batch else ordinary, strict=True)) / 1e6


def most(input_tokens: int, output_tokens: int, price: Price | None, *, batch: bool = False) -> float | None:
    """The most that a call can cost in dollars: all its input at the dearest class, all its output allowance used."""
    if price is None:
        return None
    if batch:
        into, out = max(price.batch_input, price.batch_cache_write, price.batch_cache_read), price.batch_output
    else:
        into, out = max(price.input, price.cache_write), price.output
    return (input_tokens * into + output_tokens * out) / 1e6


def retirement_note(model: str, today: date | None = None) -> str | None:
    """A sentence where `provider/model` is retired or retires within 90 days, as its vendor announced, else None."""
    provider, _, name = model.partition("/")
    dates = _table().get(provider, {}).get("retires", {})
    day = dates.get(name) or dates.get(_SNAPSHOT.sub("", name))
    return None if day is None else retirement_notice(model, day, today)


def retirement_notice(model: str, day: date, today: date | None = None) -> str | None:
    """The sentence about `provider/model` retiring on `day`, from 90 days before, else None."""
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
    half, longer = table["batch_share"], table.get("hour_write")
    batch_write = row["input"] * longer if longer else row.get("cache_write", row["input"])
    return Price(
        input=row["input"],
        output=row["output"],
        cache_write=row.get("cache_write", row["input"]),
        cache_read=row.get("cache_read", row["input"]),
        batch_input=row["input"] * half,
        batch_output=row["output"] * half,
        batch_cache_write=batch_write * half,
        batch_cache_read=row.get("cache_read", row["input"]) * half,
        source=source,
        uncertain=row.get("uncertain", False),
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("autointerp.judges").joinpath("prices.toml").read_text(encoding="utf-8"))
