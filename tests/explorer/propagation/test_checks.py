"""Propagated explanations on planted dictionaries, in which it is known what is right."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from support import label_world
from support.label_world import World, calibration_error, oracle

from autointerp.explorer.propagation import checks, choice, curve, decisions
from autointerp.explorer.propagation.choice import Choice
from autointerp.explorer.propagation.decisions import Decisions, Judged, Propagation
from autointerp.explorer.propagation.evidence import Comparison, Evidence

N = 600
NONE = np.zeros(0, dtype=np.int64)
Outcome = tuple[Propagation, np.ndarray, Decisions]


@pytest.fixture(scope="module")
def world() -> World:
    return label_world.make(3, n=N, families=24)


@pytest.fixture(scope="module")
def chosen(world: World) -> Choice:
    return choice.choose(world.evidence, 24, NONE)


@pytest.fixture(scope="module")
def fitted(world: World, chosen: Choice) -> Outcome:
    return checks.fit(Comparison(world.evidence, chosen.rows), chosen.by_chance, oracle(world, chosen.rows))


def test_probabilities_hold_and_most_units_get_a_right_explanation(
    world: World, chosen: Choice, fitted: Outcome
) -> None:
    _, rest, decided = fitted
    right = world.right(rest, chosen.rows[decided.source])
    least = curve.least_probability(decided.probability)
    assert least is not None
    kept = decided.probability >= least
    assert calibration_error(decided.probability, right) < 0.06
    assert kept.mean() > 0.6
    assert right[kept].mean() > 0.85


def test_units_for_which_no_explanation_is_right_stay_unknown(world: World, chosen: Choice, fitted: Outcome) -> None:
    _, rest, decided = fitted
    possible = world.right(rest[:, None], chosen.rows).any(axis=1)
    assert (~possible).sum() > 30
    assert (decided.probability[~possible] >= 0.9).mean() < 0.15
    assert (decided.probability[possible] >= 0.9).mean() > 0.7


def test_the_curve_counts_what_is_kept_and_what_was_checked(fitted: Outcome) -> None:
    propagation, rest, decided = fitted
    points = curve.points(decided.probability, propagation, 0.77)
    assert [point.probability for point in points] == sorted({*curve.BANDS, 0.77}, reverse=True)
    units = [point.units for point in points]
    assert units == sorted(units)
    assert units[-1] == len(rest)
    assert sum(point.checked.n for point in points) == propagation.known.sum() > 100
    for point in points:
        assert point.checked.low <= point.checked.right / max(1, point.checked.n) <= point.checked.high
        assert point.coverage == pytest.approx(point.units / len(rest))


def test_a_unit_without_evidence_has_no_explanation(world: World, chosen: Choice) -> None:
    unit = int(np.setdiff1d(np.arange(N), chosen.rows)[0])
    evidence = silent(world.evidence, unit)
    _, rest, decided = checks.fit(
        Comparison(evidence, chosen.rows), chosen.by_chance, oracle(world, chosen.rows), rounds=0
    )
    place = int(np.flatnonzero(rest == unit)[0])
    assert (decided.source[place], decided.probability[place]) == (-1, 0.0)
    assert (np.delete(decided.source, place) >= 0).all()
    assert unit not in choice.choose(evidence, N - 1, NONE).rows


def test_an_explanation_that_does_not_fit_its_own_unit_is_not_passed_on(world: World, chosen: Choice) -> None:
    right = world.right(chosen.rows[:, None], chosen.rows)
    right[4] = right[:, 4] = False
    judged = Judged(chosen.rows, right, np.ones_like(right), chosen.by_chance)
    comparison = Comparison(world.evidence, chosen.rows)
    decided = decisions.fit(comparison, judged).decide(comparison, np.arange(N))
    assert 4 not in decided.source
    assert len(np.unique(decided.source)) > 10


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**16))
def test_the_order_of_the_units_changes_nothing(world: World, chosen: Choice, fitted: Outcome, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(N)
    place = np.argsort(order)
    right = world.right(chosen.rows[:, None], chosen.rows)
    judged = Judged(chosen.rows, right, np.ones_like(right), chosen.by_chance)
    moved = replace(judged, units=place[chosen.rows])
    rest = np.setdiff1d(np.arange(N), chosen.rows)[:200]
    same = fixed_background(Comparison(world.evidence, chosen.rows))
    other = fixed_background(Comparison(permuted(world.evidence, order), place[chosen.rows]))
    before = decisions.fit(same, judged).decide(same, rest)
    after = decisions.fit(other, moved).decide(other, place[rest])
    assert after.probability == pytest.approx(before.probability, abs=1e-3)
    assert (after.source == before.source).mean() > 0.99


def test_chosen_units_serve_more_than_units_drawn_by_chance(world: World, chosen: Choice) -> None:
    rest = np.arange(N)
    random = [choice.at_random(world.evidence, 24, NONE, seed).rows for seed in range(5)]
    served = [world.right(rest[:, None], rows).any(axis=1).mean() for rows in (chosen.rows, *random)]
    assert served[0] > max(served[1:])
    assert chosen.by_chance.sum() == round(24 * choice.BY_CHANCE)
    assert len(np.unique(chosen.rows)) == 24


def test_units_that_are_labelled_are_not_chosen_again(world: World, chosen: Choice) -> None:
    more = choice.choose(world.evidence, 30, chosen.rows)
    assert not np.isin(more.rows, chosen.rows).any()
    assert len(more.rows) == 30


def test_checks_are_spread_over_all_probabilities() -> None:
    probability = np.concatenate([np.full(1000, 0.01), np.full(20, 0.5), np.full(10, 0.99), np.zeros(5)])
    free = np.ones(len(probability), dtype=bool)
    free[1000] = False
    at = checks.spread(probability, free, 30, seed=0)
    assert len(np.unique(at)) == 30
    assert np.bincount((probability[at] * 2).astype(int)).tolist() == [10, 20]
    assert 1000 not in at
    assert len(checks.spread(probability, probability == 0, 30, seed=0)) == 0


def silent(evidence: Evidence, unit: int) -> Evidence:
    """The evidence with a unit that is never active."""
    keep = np.ones(len(evidence), dtype=np.float32)
    keep[unit] = 0
    off = sparse.diags_array(keep).tocsr()
    changes = {name: (off @ getattr(evidence, name)).tocsr() for name in ("marked", "contexts", "shares", "has")}
    for matrix in changes.values():
        matrix.eliminate_zeros()
    return replace(evidence, **changes)


def permuted(evidence: Evidence, order: np.ndarray) -> Evidence:
    """The same evidence with the units in another order."""
    found = {field.name: getattr(evidence, field.name)[order] for field in fields(evidence)}
    for name in ("together", "graph"):
        found[name] = found[name][:, order]
    return Evidence(**found)


def fixed_background(comparison: Comparison) -> Comparison:
    """A comparison whose random pairs are all pairs, so that they are the same in any order."""
    comparison.use_background(np.arange(len(comparison.evidence)))
    return comparison
