"""The cost of a call, from the dated table in `prices.toml`. An unknown price is None, never 0."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from autointerp.messages import Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, anthropic_name, model_of, provider_of

_SNAPSHOT = re.compile(r"-(latest|\d{8}|\d{4}-\d{2}-\d{2})$")
_NOTICE_DAYS = 90
_OLD_DAYS = 365


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, by class. `source` names the page and its date; `uncertain` prices are unconfirmed.

    Batches: Anthropic documents half the price for all four classes, and that the discounts of caching and batches multiply; its
    `batch_cache_write` is the price of the one-hour cache, which batches request. OpenAI documents half the price for input, output and
    writes; cached input of its older models costs as much in batches as otherwise.
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
    as_of: date | None = None
    """The day on which the table was compared with its sources; None for a price that the user gave."""


FREE = Price(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "the embedded judge runs on this machine")


def price_of(model: str, settings: JudgeSettings | None = None) -> Price | None:
    """The price of `provider/model`, or None if it is unknown.

    Prices in the judge's settings take precedence; cached and batched tokens then cost as much as others. A dated snapshot
    (`-20251001`, `-2026-04-23`, `-latest`) costs as much as its model. Names that are only similar do not match.
    """
    if settings is not None and settings.input_usd_per_mtok is not None and settings.output_usd_per_mtok is not None:
        input_, output = settings.input_usd_per_mtok, settings.output_usd_per_mtok
        source = "judge.input_usd_per_mtok and judge.output_usd_per_mtok"
        return Price(input_, output, input_, input_, input_, output, input_, input_, source)
    provider = PROVIDERS.get(provider_of(model))
    if provider is not None and not provider.is_llm:
        return FREE
    if provider is None or provider.price_table is None:
        return None
    table, own = _table()[provider.price_table], provider.name == provider.price_table
    name = model_of(model) if own else anthropic_name(model)
    row = table["models"].get(name) or table["models"].get(_SNAPSHOT.sub("", name))
    if row is None:
        return None
    price = _price(row, table, _table()["as_of"])
    if own:
        return price
    return replace(price, uncertain=True, source=f"{price.source}, which {provider.name} is assumed to charge")


def cost(usage: Usage, price: Price | None, *, batch: bool = False) -> float | None:
    """The cost in dollars of one call, or of one item of a batch; None if its price or its usage is unknown."""
    if price is None or not usage.known:
        return None
    ordinary = (price.input, price.output, price.cache_write, price.cache_read)
    batched = (price.batch_input, price.batch_output, price.batch_cache_write, price.batch_cache_read)
    tokens = (usage.input_tokens, usage.output_tokens, usage.cache_write_tokens, usage.cache_read_tokens)
    return sum(n * rate for n, rate in zip(tokens, batched if batch else ordinary, strict=True)) / 1e6


def max_cost(input_tokens: int, output_tokens: int, price: Price | None, *, batch: bool = False) -> float | None:
    """The maximum cost of a call in dollars: all input in the most expensive class, and all output tokens used."""
    if price is None:
        return None
    if batch:
        input_, output = max(price.batch_input, price.batch_cache_write, price.batch_cache_read), price.batch_output
    else:
        input_, output = max(price.input, price.cache_write), price.output
    return (input_tokens * input_ + output_tokens * output) / 1e6


def price_note(settings: JudgeSettings, today: date | None = None) -> str | None:
    """A sentence if the price of the judge's model is unknown, a year old or unconfirmed, else None."""
    price, own = price_of(settings.model, settings), "judge.input_usd_per_mtok and judge.output_usd_per_mtok"
    if price is None:
        return f"no price is known for {settings.model}: set {own} to know the cost and to have a budget kept."
    if doubt := price_doubt(settings, today):
        return f"the price of {settings.model} was {doubt}: compare it with your console, or set {own}."
    return None


def price_doubt(settings: JudgeSettings, today: date | None = None) -> str | None:
    """Why the known price of the judge's model may be wrong, such as `last compared with its source on 2026-11-01`, else None."""
    price = price_of(settings.model, settings)
    if price is None:
        return None
    if price.as_of and ((today or date.today()) - price.as_of).days >= _OLD_DAYS:
        return f"last compared with its source on {price.as_of}"
    return "found in one source only" if price.uncertain else None


def retirement_note(model: str, today: date | None = None) -> str | None:
    """A sentence if `provider/model` has retired or retires within 90 days, by its vendor's announcement, else None."""
    provider, name = PROVIDERS.get(provider_of(model)), model_of(model)
    if provider is None or provider.price_table != provider.name:  # a cloud retires models on days of its own
        return None
    dates = _table()[provider.price_table].get("retires", {})
    day = dates.get(name) or dates.get(_SNAPSHOT.sub("", name))
    return None if day is None else retirement_notice(model, day, today)


def retirement_notice(model: str, day: date, today: date | None = None) -> str | None:
    """A sentence on the retirement of `provider/model` on `day`; None if that is more than 90 days away."""
    days = (day - (today or date.today())).days
    if days > _NOTICE_DAYS:
        return None
    when = (
        f"was announced to retire on {day}"
        if days <= 0
        else f"retires on {day}, in {days} day{'s' if days > 1 else ''}"
    )
    return f"{model} {when}: results made with it cannot be extended afterwards, name another model for new runs."


def _price(row: dict[str, Any], table: dict[str, Any], as_of: date) -> Price:
    share, hour_write = table["batch_share"], table.get("hour_write")
    batch_write = row["input"] * hour_write if hour_write else row.get("cache_write", row["input"])
    return Price(
        input=row["input"],
        output=row["output"],
        cache_write=row.get("cache_write", row["input"]),
        cache_read=row.get("cache_read", row["input"]),
        batch_input=row["input"] * share,
        batch_output=row["output"] * share,
        batch_cache_write=batch_write * share,
        batch_cache_read=row.get("batch_cache_read", row.get("cache_read", row["input"]) * share),
        source=f"{table['source']}, as of {as_of}",
        uncertain=row.get("uncertain", False),
        as_of=as_of,
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("autointerp.judges").joinpath("prices.toml").read_text(encoding="utf-8"))
