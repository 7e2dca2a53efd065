"""Runs over the planted world through real providers, for the tests that break them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from support.planted_world import world as planted
from support.providers.server import Entry, ProviderServer

from autointerp.judges import prices, registry
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress
from autointerp.run import Run
from sae.cache import cache_dir

MODELS = ("anthropic/claude-haiku-4-5", "openai/gpt-5.4-mini", "openai-compatible/qwen")
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_COMPATIBLE_API_KEY")
KEY = "sk-test-12345678"
PRICED = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 5.0}
"""What a model outside the price table costs here."""
FORM = {"system_role": True, "json": "schema"}
"""What the tests' server takes. With both set, no calls are spent on a probe."""


def url(model: str, server: str) -> str:
    return server if model.startswith("anthropic") else f"{server}/v1"


def judge(model: str, server: ProviderServer, **changes: Any) -> dict[str, Any]:
    """The spec's `judge` table."""
    price = PRICED | FORM if model.startswith("openai-compatible") else {}
    table = {"model": model, "base_url": url(model, server.url), "max_output_tokens": 200, "timeout_s": 20.0}
    return table | price | changes


def prepare(world: planted.World, results: Path, **sections: Mapping[str, Any]) -> tuple[Run, Ledger]:
    """A run that is ready to be carried; a harvest that an earlier test of this process made is taken over."""
    harvests = cache_dir() / "harvests-of-tests"
    _copy(harvests, results / "artifacts")
    run = preparation.prepare(world.spec(**sections), results, Progress(quiet=True))
    _copy(results / "artifacts", harvests)
    return run, Ledger.in_folder(results)


def _copy(source: Path, target: Path) -> None:
    """The harvests of `source` into `target`, if they are not there."""
    for harvest in source.glob("harvest-*/"):
        if not (target / harvest.name).exists():
            shutil.copytree(harvest, target / harvest.name)


def carry(run: Run, ledger: Ledger, judges: registry.Judges | None = None) -> dict[str, Any]:
    summary = local.execute_run(
        run, ledger, Progress(quiet=True), judges=judges, command=["autointerp", "run", "spec.toml"]
    )
    return summary.to_json()


def price(model: str) -> prices.Price:
    found = prices.price_of(model)
    return found or prices.Price(1.0, 5.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, "PRICED")


def bill(model: str, entries: list[Entry]) -> float:
    """Dollars of what a server served, by its own books."""
    rates = price(model)
    return (
        sum(
            entry.input_tokens * rates.input
            + entry.output_tokens * rates.output
            + entry.cache_write_tokens * rates.cache_write
            + entry.cache_read_tokens * rates.cache_read
            for entry in entries
        )
        / 1e6
    )


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """A run's final tables in a fixed order."""
    keys = {
        "units": ["unit_id"],
        "exemplars": ["exemplar_id"],
        "judgements": ["unit_id", "arm", "exemplar_id", "repeat"],
    }
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in keys}
    return {name: frame.sort_values(keys[name], ignore_index=True) for name, frame in frames.items()}


def summary(folder: Path) -> dict[str, Any]:
    """A run's summary as written."""
    return dict(json.loads((folder / "summary.json").read_text()))


def environment(cache: Path) -> dict[str, str]:
    """What a subprocess needs to run the command line against a local server."""
    given = dict.fromkeys(KEYS, KEY) | {"AUTOINTERP_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return os.environ | given
