"""The size that a comparison needs, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.results.graded_runs import write

from autointerp.comparisons.command import plan
from autointerp.comparisons.needed_size import sizes
from autointerp.errors import UsageError
from autointerp.stats.stopping import Spread


@pytest.mark.parametrize("paired", [False, True])
def test_runs_of_the_planned_size_find_the_difference_in_four_of_five(paired: bool) -> None:
    rng, bins, difference = np.random.default_rng(0), 4, 0.3
    spread = Spread(between=0.5, within=0.8)
    for size in sizes(difference, spread, bins, 0.95, paired=paired):
        assert size.units is not None
        error = np.sqrt(spread.between**2 + spread.within**2 / (bins * size.per_bin))
        draws = rng.normal(0, error, (2, 2000, size.units))
        draws[1] += difference
        found = stats.ttest_1samp(draws[1], 0, axis=1) if paired else stats.ttest_ind(draws[1], draws[0], axis=1)
        assert float((found.pvalue < 0.05).mean()) == pytest.approx(0.83, abs=0.03)


def test_a_run_tells_how_many_features_and_judgements_a_difference_takes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    level = rng.beta(2, 2, 60)[:, None, None]
    grades = rng.binomial(3, level, (60, 4, 3)).astype(float)
    neurons = rng.binomial(3, 0.2, (20, 4, 3)).astype(float)
    write(tmp_path / "first", grades, neurons, judge="openai/a")
    changed = np.where(rng.random(grades.shape) < 0.2, rng.binomial(3, level, grades.shape), grades)
    write(tmp_path / "second", changed, neurons, judge="openai/b")
    other, same = (list(plan(0.2, names, tmp_path, 0.95)) for names in (["first"], ["first", "second"]))
    assert other[0].split() == ["per_bin", "features", "judgements", "a", "run"]
    features, judgements = (int(cell.replace(",", "")) for cell in other[2].split()[1:])
    assert judgements == features * 4 * 2
    assert int(same[2].split()[1]) < features / 2
    assert any("for two runs over other features" in line for line in other)


@pytest.mark.parametrize(
    ("difference", "names", "message"),
    [
        (0.0, ["first"], "--plan 0 is no difference to plan for"),
        (0.2, ["first", "elsewhere"], "do not grade the same features on the same exemplars"),
        (0.2, ["first", "first", "first"], "--plan takes one run or two, and not 3"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(
    tmp_path: Path, difference: float, names: list[str], message: str
) -> None:
    grades = np.random.default_rng(2).binomial(3, 0.5, (20, 4, 3)).astype(float)
    write(tmp_path / "first", grades, grades)
    write(tmp_path / "elsewhere", grades, grades, dictionary="e")
    with pytest.raises(UsageError, match=message):
        list(plan(difference, names, tmp_path, 0.95))
