"""The spread of grades within bins and documents, by moments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulations import simulate_units
from simulations.document_worlds import Documents

from autointerp.stats import document_spread


def items(seed: int, *, units: int, rho: float, spread: float = 0.8, documents: int = 4) -> pd.DataFrame:
    """Normal scores of 3 bins of 6 items in `documents` documents, which their bins share."""
    rng = np.random.default_rng(seed)
    rows = []
    for unit in range(units):
        effects = rng.normal(size=documents)
        for bin_ in range(1, 4):
            document = rng.integers(0, documents, 6)
            score = bin_ + spread * (np.sqrt(rho) * effects[document] + np.sqrt(1 - rho) * rng.normal(size=6))
            rows.append(pd.DataFrame({"unit_id": f"feature-{unit}", "bin": bin_, "score": score, "document": document}))
    return pd.concat(rows, ignore_index=True)


def spreads(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    return document_spread.spreads(rows, dict.fromkeys(rows["unit_id"], "feature"))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_moments_give_back_the_correlation_and_the_variance(rho: float) -> None:
    table, correlation = spreads(items(0, units=120, rho=rho))
    assert correlation["feature"] == pytest.approx(rho, abs=0.1)
    assert table["variance"].mean() == pytest.approx(0.64, rel=0.1)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_factor_gives_the_variance_of_the_mean_of_bins(rho: float) -> None:
    rows = items(1, units=150, rho=rho)
    table, _ = spreads(rows)
    means = rows.groupby(["unit_id", "bin"])["score"].mean().groupby(level=0).mean()
    assert (table["variance"] * table["factor"]).mean() == pytest.approx(means.var(), rel=0.3)


def test_items_of_documents_of_their_own_are_independent() -> None:
    rows = items(2, units=5, rho=0.0)
    rows["document"] = np.arange(len(rows))
    table, correlation = spreads(rows)
    without, _ = spreads(rows.drop(columns="document"))
    pd.testing.assert_frame_equal(table, without)
    assert correlation == {"feature": 0.0}
    assert (table["freedom"] == 15).all()
    own = rows.groupby(["unit_id", "bin"])["score"].var().groupby(level=0).mean()
    assert table["variance"].to_numpy() == pytest.approx(own.to_numpy())


def test_items_of_one_document_count_as_one_if_nothing_tells_how_alike_they_are() -> None:
    rows = items(3, units=2, rho=0.5)
    rows["document"] = 0
    table, correlation = spreads(rows)
    assert correlation == {"feature": 1.0}
    assert (table["freedom"] == 0).all()
    assert table["variance"].isna().all()


def test_without_items_there_are_no_spreads() -> None:
    table, correlation = document_spread.spreads(items(0, units=1, rho=0).head(0), {})
    assert table.empty
    assert correlation == {}


def test_intervals_of_units_cover_if_their_items_share_documents() -> None:
    """A small version of `simulations/simulate_units.py`."""
    found = simulate_units.cover(Documents(8, 0.5, bursty=True), units=50, runs=3)
    ignored = simulate_units.cover(Documents(8, 0.5, bursty=True), units=50, runs=1, known=False)
    assert all(0.91 <= share <= 0.99 for share in found.values()), found
    assert all(share < 0.8 for share in ignored.values()), ignored
