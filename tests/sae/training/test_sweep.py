"""Scaling laws: planted exponents are recovered, and a law without enough points is withheld."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sae.scaling_grid import BATCH, FEATURES, RATES, TOKENS, WIDTH, planted

from sae.errors import DictionaryError
from sae.training.scaling_laws import Cell, Law, Surface, Withheld, fit, lowest, power_law
from sae.training.sweep import Grid, training_groups
from sae.training.trainer import TrainConfig


def test_planted_exponents_are_found() -> None:
    found = fit(planted(FEATURES, TOKENS, RATES))
    # At the optimum a F^-a = b T^-b up to constants, so F grows as C^(b/(a+b)) and the loss falls as C^(-ab/(a+b)).
    assert isinstance(found.features, Law)
    assert found.features.exponent == pytest.approx(0.25 / 0.6, abs=0.03)
    assert isinstance(found.steps, Law)
    assert found.steps.exponent == pytest.approx(0.35 / 0.6, abs=0.03)
    assert isinstance(found.loss, Law)
    assert found.loss.exponent == pytest.approx(-0.35 * 0.25 / 0.6, abs=0.02)
    assert isinstance(found.lr, Law)
    assert found.lr.exponent == pytest.approx(-0.1, abs=0.005)
    assert found.lr.at(1e15) == pytest.approx(0.002, rel=0.01)
    assert all(o.steps == pytest.approx(o.tokens / BATCH, rel=1e-3) for o in found.optima)


def test_the_surface_of_a_product_of_powers_is_exact() -> None:
    cells = planted(FEATURES[:3], TOKENS[:3], [1e-3])
    product = [Cell(**{**vars(c), "loss": 3 * c.d_sae**-0.3 * c.tokens**-0.2}) for c in cells]
    surface = fit(product).surface
    assert isinstance(surface, Surface)
    assert (surface.features, surface.tokens, surface.coefficient) == pytest.approx((-0.3, -0.2, 3))
    assert surface.residual < 1e-9


def test_a_law_without_enough_points_is_withheld() -> None:
    small = fit(planted(FEATURES[:2], TOKENS[:2], RATES[:2]))
    for law in (small.surface, small.features, small.steps, small.loss, small.lr):
        assert isinstance(law, Withheld)
    assert not small.optima
    assert not small.rates
    # Ever more features always pay here: every optimum lies at the edge of the grid, so none is taken for one.
    edge = fit(planted(FEATURES, TOKENS, [1e-3], a=1.5, b=0.01))
    assert edge.optima
    assert all(optimum.edge for optimum in edge.optima)
    assert isinstance(edge.features, Withheld)
    assert "inside the grid" in edge.features.withheld


@given(
    exponent=st.floats(-2, 2), coefficient=st.floats(1e-3, 1e3),
    xs=st.lists(st.integers(1, 10**6), min_size=3, max_size=8, unique=True),
)  # fmt: skip
def test_a_power_law_is_recovered(exponent: float, coefficient: float, xs: list[int]) -> None:
    law = power_law([(x, coefficient * x**exponent) for x in xs], "too few")
    assert isinstance(law, Law)
    assert law.exponent == pytest.approx(exponent, abs=1e-4)
    assert law.at(xs[0]) == pytest.approx(coefficient * xs[0] ** exponent, rel=1e-3)
    assert (law.low, law.high) == pytest.approx((min(xs), max(xs)))


def test_the_standard_error_of_an_exponent_matches_its_noise() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        law = power_law([(2.0**n, 2.0 ** (-0.3 * n) * math.exp(0.05 * rng.normal())) for n in range(10)], "")
        assert isinstance(law, Law)
        inside += abs(law.exponent + 0.3) < 2 * law.se
    assert 0.85 < inside / 300 < 0.99


@given(centre=st.floats(0.01, 100), curvature=st.floats(0.01, 2))
def test_the_minimum_of_a_log_parabola_is_found(centre: float, curvature: float) -> None:
    points = [(x, 3 * math.exp(curvature * math.log(x / centre) ** 2)) for x in (centre / 5, centre * 1.3, centre * 7)]
    x, y, edge = lowest(points)
    assert (x, y) == pytest.approx((centre, 3))
    assert not edge
    assert lowest(points[1:])[2]


def test_cells_are_grouped_in_order_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = Grid((1000, 3000), (100, 200), (1e-3,)).configs(TrainConfig())
    monkeypatch.setattr("sae.training.sweep.GROUP_BYTES", 32 * WIDTH * 4000)
    grouped = list(training_groups(configs, WIDTH))
    assert [list(group) for group in grouped] == [
        ["1000-100-0.001", "1000-200-0.001"],
        ["3000-100-0.001"],
        ["3000-200-0.001"],
    ]
    with pytest.raises(DictionaryError, match="none twice"):
        Grid((8, 8), (1,), (1.0,)).configs(TrainConfig(k=1))
