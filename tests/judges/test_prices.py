"""Prices of the table, of the spec, and unknown ones; announced retirements."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import get_args

import pytest
from support.packages import needed

from autointerp.judges import prices
from autointerp.messages import Usage
from autointerp.spec.judge_sections import Judge


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("anthropic/claude-haiku-4-5", (1.0, 5.0, 1.25, 0.1, 0.5, 2.5)),
        ("anthropic/claude-haiku-4-5-20251001", (1.0, 5.0, 1.25, 0.1, 0.5, 2.5)),
        ("openai/gpt-5.4-mini-2026-03-17", (0.75, 4.5, 0.75, 0.075, 0.375, 2.25)),
        ("embedded", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_prices_in_the_table(model: str, rates: tuple[float, ...]) -> None:
    price = prices.price_of(model)
    assert price is not None
    six = (price.input, price.output, price.cache_write, price.cache_read, price.batch_input, price.batch_output)
    assert six == pytest.approx(rates)


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-opus-9",
        "anthropic/claude-haiku-4-5-mini",
        "openai/gpt-5.4-pro",
        "openai-compatible/gpt-4o",
        "other/x",
    ],
)
def test_an_unknown_price_is_none(model: str) -> None:
    """A name with the same beginning is another model: `gpt-5.4-pro` costs twelve times as much as `gpt-5.4`."""
    assert prices.price_of(model) is None
    assert prices.cost(Usage(100, 100), prices.price_of(model)) is None
    assert prices.max_cost(100, 100, prices.price_of(model)) is None


def test_prices_in_the_spec_take_precedence() -> None:
    local = Judge(
        model="openai-compatible/q", base_url="http://127.0.0.1/v1", input_usd_per_mtok=2.0, output_usd_per_mtok=8.0
    )
    price = prices.price_of(local.model, local)
    assert prices.cost(Usage(1_000_000, 500_000, 0, 1_000_000), price) == pytest.approx(2.0 + 4.0 + 2.0)
    free = local.model_copy(update={"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0})
    assert prices.cost(Usage(9, 9), prices.price_of(free.model, free)) == 0.0


def test_a_price_that_is_unknown_a_year_old_or_unconfirmed_is_said_to_be() -> None:
    known, compared = Judge(model="anthropic/claude-haiku-4-5"), prices._table()["as_of"]
    assert prices.price_note(known, compared) is None
    assert f"compared with its source on {compared}" in (prices.price_note(known, compared + timedelta(days=365)) or "")
    given = known.model_copy(update={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0})
    assert prices.price_note(given, compared + timedelta(days=999)) is None
    assert "one source only" in (prices.price_note(Judge(model="anthropic/claude-fable-5-2"), compared) or "")
    assert "no price is known for openai/gpt-99" in (prices.price_note(Judge(model="openai/gpt-99"), compared) or "")
    assert prices.price_note(Judge(model="embedded"), compared + timedelta(days=999)) is None


def test_each_token_class_has_its_price() -> None:
    price = prices.price_of("anthropic/claude-sonnet-5-5")
    assert prices.cost(Usage(1_000_000, 0), price) == pytest.approx(2.0)
    assert prices.cost(Usage(0, 1_000_000), price) == pytest.approx(10.0)
    assert prices.cost(Usage(0, 0, 1_000_000, 0), price) == pytest.approx(2.5)
    assert prices.cost(Usage(0, 0, 0, 1_000_000), price) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        ("anthropic/claude-haiku-4-5", (0.5, 2.5, 1.0, 0.05)),  # writes for one hour cost twice the input, then half
        ("openai/gpt-6-luna", (0.05, 0.25, 0.0625, 0.005)),
        ("openai/gpt-5.4", (1.25, 7.5, 1.25, 0.13)),
        ("openai/gpt-4o", (1.25, 5.0, 1.25, 1.25)),  # batches give no discount on its cached input
        ("embedded", (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_each_token_class_has_its_batch_price(model: str, rates: tuple[float, ...]) -> None:
    price = prices.price_of(model)
    for place, rate in enumerate(rates):
        counts = [0, 0, 0, 0]
        counts[place] = 1_000_000
        assert prices.cost(Usage(*counts), price, batch=True) == pytest.approx(rate)
    assert prices.cost(Usage(known=False), price, batch=True) is None
    assert prices.cost(Usage(1), None, batch=True) is None


def test_prices_in_the_spec_apply_to_batches_too() -> None:
    local = Judge(model="openai/q", input_usd_per_mtok=2.0, output_usd_per_mtok=8.0)
    price = prices.price_of(local.model, local)
    usage = Usage(1_000_000, 500_000, 1_000_000, 1_000_000)
    assert prices.cost(usage, price, batch=True) == prices.cost(usage, price) == pytest.approx(10.0)


def test_unknown_usage_has_an_unknown_cost() -> None:
    assert prices.cost(Usage(known=False), prices.price_of("openai/gpt-6-luna")) is None


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("model", ["anthropic/claude-haiku-4-5", "openai/gpt-6-luna", "openai/gpt-5.4"])
def test_the_maximum_cost_is_not_exceeded_in_any_token_class(model: str, batch: bool) -> None:
    price = prices.price_of(model)
    bound = prices.max_cost(1000, 200, price, batch=batch)
    assert bound is not None
    for usage in (Usage(1000, 200), Usage(0, 200, 1000, 0), Usage(0, 200, 0, 1000), Usage(500, 0, 500, 0)):
        assert (prices.cost(usage, price, batch=batch) or 0.0) <= bound
    assert prices.max_cost(1000, 200, None, batch=batch) is None


def test_every_row_of_the_table_is_plausible() -> None:
    for provider in ("anthropic", "openai"):
        for name in prices._table()[provider]["models"]:
            price = prices.price_of(f"{provider}/{name}")
            assert price is not None
            assert 0 < price.cache_read < price.input <= price.cache_write < price.output, name
            assert re.search(r"https://.* as of \d{4}-\d{2}-\d{2}$", price.source)


LISTED = [f"{provider}/{name}" for provider in ("anthropic", "openai") for name in prices._table()[provider]["models"]]
NOT_LISTED = {"anthropic/claude-mythos-5", "anthropic/claude-mythos-5-1"}
"""Models that genai-prices lacks; Anthropic charges for them as for Fable."""


@pytest.mark.peers
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("model", sorted(set(LISTED) - NOT_LISTED))
def test_the_table_agrees_with_a_list_that_others_keep(model: str, batch: bool) -> None:
    source, (provider, name) = needed("genai_prices"), model.split("/")
    day = datetime.combine(prices._table()["as_of"], time(), UTC)
    hour = {"cache_write_1h_tokens": 1000} if batch and provider == "anthropic" else {}

    def listed(**tokens: int) -> float:
        usage, context = source.Usage(**tokens), {"processing": "batch"} if batch else None
        given = {"provider_id": provider, "genai_request_timestamp": day, "price_context": context}
        return float(source.calc_price(usage, name, **given).total_price) * 1000

    price = prices.price_of(model)
    for ours, theirs in (
        (Usage(1000, 0), listed(input_tokens=1000)),
        (Usage(0, 1000), listed(output_tokens=1000)),
        (Usage(0, 0, 1000, 0), listed(input_tokens=1000, cache_write_tokens=1000, **hour)),
        (Usage(0, 0, 0, 1000), listed(input_tokens=1000, cache_read_tokens=1000)),
    ):
        assert (prices.cost(ours, price, batch=batch) or 0.0) * 1000 == pytest.approx(theirs), ours


def test_every_price_is_for_a_model_that_the_sdk_knows() -> None:
    from anthropic.types.model import Model
    from openai.types.shared.chat_model import ChatModel

    known = {
        "anthropic": set(get_args(get_args(Model)[0])),
        "openai": set(get_args(ChatModel)),
    }
    for provider, names in known.items():
        assert set(prices._table()[provider]["models"]) <= names


def test_announced_retirements_are_those_of_the_sdk() -> None:
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    today = datetime.fromisoformat("2026-11-21").date()
    announced = {}
    for name, text in DEPRECATED_MODELS.items():
        day = datetime.strptime(re.sub(r"(st|nd|rd|th),", ",", text), "%B %d, %Y").date()
        if day > today and not re.search(r"\d{8}$", name):
            announced[name] = day
    assert prices._table()["anthropic"]["retires"] == announced


@pytest.mark.parametrize(
    ("model", "today", "needle"),
    [
        ("anthropic/claude-sonnet-4-5-20250929", date(2026, 11, 21), "retires on 2026-11-30, in 9 days"),
        ("anthropic/claude-sonnet-4-5", date(2026, 12, 1), "was announced to retire on 2026-11-30"),
        ("openai/gpt-5-mini", date(2026, 12, 10), "in 1 day:"),
        ("openai/gpt-5.1", date(2026, 11, 21), None),
        ("anthropic/claude-haiku-5-5", date(2026, 11, 21), None),
        ("embedded", date(2026, 11, 21), None),
    ],
)
def test_retirement_notes(model: str, today: date, needle: str | None) -> None:
    note = prices.retirement_note(model, today)
    assert (note is None) == (needle is None)
    assert needle is None or needle in str(note)
