"""Simulation: prediction-powered intervals cover people's mean grade with 25 to 400 labels, and the judge's own do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from simulations import agreement_worlds, worlds
from simulations.agreement_worlds import BY_BIN, BY_UNIT, EVEN, RARE, Errors

from autointerp.stats import comparison, prediction_powered

BINS, PER_BIN = 6, 2
NAMES = ("features", "neurons", "difference")


UNITS = (8, 12, 20, 50)
MISSING = ("nothing", "at random", "not at random")
"""Labels that a rater of the sample leaves out: none, 30% of them, or half of the items whose grade is 1 or 2."""


class Case(NamedTuple):
    """Right grades of units, a judge, and a sample of labels."""

    grades: Callable[[np.random.Generator, tuple[int, int, int]], agreement_worlds.Ints]
    errors: Errors
    labels: int = 50
    strata: bool = True
    missing: str = "nothing"


MISSES = Errors(0.1, 0.4)
"""A judge that misses many grades above 0."""
CASES = {
    "dirichlet, errors by bin": Case(agreement_worlds.dirichlet, BY_BIN),
    "dirichlet, errors by unit": Case(agreement_worlds.dirichlet, BY_UNIT),
    "dirichlet, 30% unlabelled": Case(agreement_worlds.dirichlet, EVEN, missing="at random"),
    "heavy tails, errors by unit": Case(agreement_worlds.heavy, BY_UNIT),
    "heavy tails, a simple sample": Case(agreement_worlds.heavy, BY_BIN, strata=False),
    "95% zeros in few units": Case(agreement_worlds.zeros_in_few, RARE),
    "95% zeros in few units, 400 labels": Case(agreement_worlds.zeros_in_few, RARE, labels=400),
    "95% zeros in few units, a judge that misses": Case(agreement_worlds.zeros_in_few, MISSES, labels=100),
    "95% zeros in few units, a simple sample": Case(agreement_worlds.zeros_in_few, EVEN, labels=100, strata=False),
    "95% zeros spread": Case(agreement_worlds.zeros_spread, EVEN),
    "95% zeros spread, 400 labels": Case(agreement_worlds.zeros_spread, EVEN, labels=400),
    "95% zeros spread, a judge that misses": Case(agreement_worlds.zeros_spread, MISSES, labels=100),
    "95% zeros spread, a simple sample": Case(agreement_worlds.zeros_spread, EVEN, labels=100, strata=False),
    "dirichlet, labels missing not at random": Case(agreement_worlds.dirichlet, EVEN, missing="not at random"),
}


def case_items(rng: np.random.Generator, case: Case, units: int, n: int) -> prediction_powered.Items:
    """One kind of unit of the case, with a sample of `n` items, from which labels may be missing."""
    grades = case.grades(rng, (1, units, BINS * PER_BIN))
    seen, right = agreement_worlds.judged(rng, grades, case.errors).ravel(), grades.ravel()
    stratum = seen if case.strata else np.zeros_like(seen)
    size = np.bincount(stratum, minlength=4)
    take = np.minimum(size, max(2, n // int((size > 0).sum())))
    rank = np.empty(seen.size, dtype=np.int64)
    for h in np.flatnonzero(size):
        rank[stratum == h] = rng.permutation(size[h])
    sampled = rank < take[stratum]
    chance = rng.random(seen.size)
    given = {
        "nothing": chance >= 0,
        "at random": chance < 0.7,
        "not at random": ~np.isin(right, (1, 2)) | (chance < 0.5),
    }[case.missing]
    return prediction_powered.Items(
        unit=np.repeat(np.arange(units), BINS * PER_BIN),
        weight=np.full(seen.size, 1 / seen.size),
        grade=seen.astype(float),
        label=np.where(sampled & given, right, np.nan),
        stratum=np.where(sampled, stratum, -1),
        probability=(take / np.maximum(size, 1))[stratum],
    )


def case_cover(case: Case, *, units: int, runs: int, large: int = 50_000) -> dict[str, tuple[float, float]]:
    """The share of corrected intervals that contain the truth, and of runs with an interval. Both kinds have the same truth."""
    rng = np.random.default_rng(units)
    mean = float(case.grades(rng, (1, large, BINS * PER_BIN)).mean())
    hits: dict[str, list[bool]] = {name: [] for name in NAMES}
    for _ in range(runs):
        halves = [case_items(rng, case, units, n) for n in ((case.labels + 1) // 2, case.labels // 2)]
        found = prediction_powered.correct(halves[0], halves[1], confidence=0.95)
        for name in NAMES:
            figure = getattr(found, name)
            if figure.ci_low is not None:
                hits[name].append(figure.ci_low <= (0 if name == "difference" else mean) <= figure.ci_high)
    return {name: (float(np.mean(h)) if h else np.nan, len(h) / runs) for name, h in hits.items()}


def items(
    rng: np.random.Generator, world: worlds.World, units: int, n: int, *, strata: bool, by_unit: bool
) -> prediction_powered.Items:
    """One kind of unit, graded by a judge that is +1 on 30% and -1 on 10% of the items, with `n` items labelled with the truth.

    The labelled items are a simple random sample or, with `strata`, equally many of each of the judge's grades.
    """
    grades = worlds.draw(rng, world, units, BINS, PER_BIN)[0]
    seen = worlds.biased(rng, grades, by_unit=by_unit).ravel()
    stratum = seen if strata else np.zeros_like(seen)
    size = np.bincount(stratum, minlength=4)
    take = np.minimum(size, max(1, n // int((size > 0).sum())))
    rank = np.empty(seen.size, dtype=np.int64)
    for h in np.flatnonzero(size):
        rank[stratum == h] = rng.permutation(size[h])
    chosen = rank < take[stratum]
    return prediction_powered.Items(
        unit=np.repeat(np.arange(units), BINS * PER_BIN),
        weight=np.full(seen.size, 1 / seen.size),
        grade=seen.astype(float),
        label=np.where(chosen, grades.ravel(), np.nan),
        stratum=np.where(chosen, stratum, -1),
        probability=(take / np.maximum(size, 1))[stratum],
    )


def cover(
    kinds: tuple[worlds.World, worlds.World], *, units: int, n: int, strata: bool, by_unit: bool, runs: int
) -> tuple[dict[str, float], dict[str, float], float]:
    """Shares of corrected and of judge-only 95% intervals that contain the truth, and the mean width of the difference's."""
    rng = np.random.default_rng(n)
    means = [worlds.true_mean(world, BINS) for world in kinds]
    truth = dict(zip(NAMES, [*means, means[0] - means[1]], strict=True))
    hits: dict[str, list[bool]] = {name: [] for name in NAMES}
    fooled: dict[str, list[bool]] = {name: [] for name in NAMES}
    widths = []
    for _ in range(runs):
        pair = [
            items(rng, world, units, half, strata=strata, by_unit=by_unit)
            for world, half in zip(kinds, ((n + 1) // 2, n // 2), strict=True)
        ]
        found = prediction_powered.correct(pair[0], pair[1], confidence=0.95)
        for name in NAMES:
            figure = getattr(found, name)
            if figure.ci_low is not None:
                hits[name].append(figure.ci_low <= truth[name] <= figure.ci_high)
        if found.difference.ci_high is not None:
            widths.append(found.difference.ci_high - found.difference.ci_low)
        of_unit = [np.bincount(k.unit, k.grade) / (BINS * PER_BIN) for k in pair]
        halves = [1.96 * u.std(ddof=1) / units**0.5 for u in of_unit]
        alone = {"features": (of_unit[0].mean(), halves[0]), "neurons": (of_unit[1].mean(), halves[1])}
        alone["difference"] = (of_unit[0].mean() - of_unit[1].mean(), float(np.hypot(*halves)))
        for name, (mean, half) in alone.items():
            fooled[name].append(abs(mean - truth[name]) <= half)
    assert len(widths) > 0.9 * runs, "an interval is rarely withheld"
    shares = {name: float(np.mean(h)) for name, h in hits.items() if len(h) > runs / 2}
    return shares, {name: float(np.mean(h)) for name, h in fooled.items()}, float(np.mean(widths))


@pytest.mark.parametrize("strata", [False, True], ids=["simple", "strata"])
@pytest.mark.parametrize("n", [25, 50, 100])
@pytest.mark.parametrize("by_unit", [False, True], ids=["even", "by-unit"])
def test_corrected_intervals_cover(n: int, strata: bool, by_unit: bool) -> None:
    worlds_ = (worlds.FEATURES, worlds.NEURONS)
    found, judge, width = cover(worlds_, units=64, n=n, strata=strata, by_unit=by_unit, runs=3000)
    words = ", ".join(f"{name} {share:.3f} (judge alone {judge[name]:.3f})" for name, share in found.items())
    print(
        f"\n{n} labels, {'strata' if strata else 'simple'}, {'by unit' if by_unit else 'even'}: {words}; width {width:.2f}"
    )
    assert 0.93 <= found["difference"] <= 0.97
    assert all(0.92 <= share <= 0.98 for share in found.values())
    assert judge["neurons"] < 0.85


@pytest.mark.parametrize("n", [25, 50, 100])
def test_corrected_intervals_cover_where_few_units_are_graded_high(n: int) -> None:
    """30 units of a kind, four fifths of whose grades are 3, with labels by strata."""
    found, _, width = cover((worlds.LENIENT, worlds.FEATURES), units=30, n=n, strata=True, by_unit=True, runs=3000)
    print(f"\n{n} labels, lenient: {found}; width {width:.2f}")
    assert 0.93 <= found["difference"] <= 0.975


def test_corrected_intervals_cover_in_every_world() -> None:
    """Where labels are missing not at random the estimate is biased; the report warns of an uneven rater instead."""
    usual = []
    for name, case in CASES.items():
        for units in UNITS:
            found = case_cover(case, units=units, runs=600)
            shown = ", ".join(f"{kind} {share:.3f} ({given:.2f} given)" for kind, (share, given) in found.items())
            print(f"\n{name}, {units} units: {shown}")
            if case.missing != "not at random":
                usual += [share for share, given in found.values() if given >= 0.1]
    assert min(usual) >= 0.88
    assert np.mean(np.array(usual) >= 0.925) >= 0.9


def test_the_headlines_own_interval_covers() -> None:
    """The interval of `comparison.compare` for 20 to 64 units, in worlds with skew to either side."""
    for kinds in ((worlds.FEATURES, worlds.NEURONS), (worlds.LENIENT, worlds.NOISY)):
        truth = worlds.true_mean(kinds[0], BINS) - worlds.true_mean(kinds[1], BINS)
        for units in (20, 40, 64):
            share = headline_cover(kinds, truth, units=units, runs=2000)
            print(f"\nheadline, {units} units: {share:.3f}")
            assert 0.93 <= share <= 0.97


def headline_cover(kinds: tuple[worlds.World, worlds.World], truth: float, *, units: int, runs: int) -> float:
    rng, hits = np.random.default_rng(units), 0
    for _ in range(runs):
        means = [worlds.draw(rng, world, units, BINS, PER_BIN)[0].mean(axis=(1, 2)) for world in kinds]
        found = comparison.compare(*means, confidence=0.95, scale=(0, 3))
        assert found.ci_low is not None
        hits += found.ci_low <= truth <= found.ci_high
    return hits / runs
