"""Finished runs compared: what they are paired by, on which measure the verdict rests, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.results.graded_runs import write

from autointerp.comparisons import prose
from autointerp.comparisons.comparison import Comparison, compare
from autointerp.comparisons.finished_run import read
from autointerp.comparisons.pairing import Side
from autointerp.errors import UsageError

UNITS, BINS, ITEMS = 40, 4, 3


def grades(seed: int, level: float = 0.5, units: int = UNITS, spread: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    of_unit = rng.beta(spread * level, spread * (1 - level), units)
    return rng.binomial(3, of_unit[:, None, None], (units, BINS, ITEMS)).astype(float)


NEURONS, OTHERS = grades(100, 0.2), grades(101, 0.1)


def compared(*folders: Path | tuple[Path, ...]) -> Comparison:
    sides = [folder if isinstance(folder, tuple) else (folder,) for folder in folders]
    return compare([Side(tuple(read(str(path), path.parent) for path in side)) for side in sides])


def test_two_dictionaries_are_compared_by_their_grades_on_the_same_texts(tmp_path: Path) -> None:
    first = write(tmp_path / "first", grades(1, 0.3), NEURONS, dictionary="a")
    second = write(tmp_path / "second", grades(2, 0.7), NEURONS, dictionary="b")
    [pair] = compared(first, second).pairs
    assert (pair.result.measure, pair.result.verdict, pair.differ) == ("grade", "better", ["dictionary"])
    assert pair.pairing == {"feature": "texts", "neuron": "exemplars"}
    assert prose.verdict(pair).startswith("second is better than first: mean grade of features +1.")
    [reverse] = compared(second, first).pairs
    assert reverse.result.verdict == "worse"
    assert reverse.result.difference == pytest.approx(-(pair.result.difference or 0))


def test_two_judges_are_paired_by_exemplar_and_a_lenient_judge_is_no_better(tmp_path: Path) -> None:
    strict = grades(3)
    rng = np.random.default_rng(4)
    lenient, lenient_others = (np.minimum(g + (rng.random(g.shape) < 0.3), 3) for g in (strict, OTHERS))
    first = write(tmp_path / "first", strict, NEURONS, shuffled=OTHERS, judge="openai/strict")
    second = write(tmp_path / "second", lenient, NEURONS, shuffled=lenient_others, judge="openai/lenient")
    [pair] = compared(first, second).pairs
    by_measure = {result.measure: result for result in pair.results}
    assert by_measure["grade"].verdict == "better"
    assert pair.result.measure == "shuffled"
    assert pair.result.verdict != "better"
    assert pair.pairing == {"feature": "exemplars", "neuron": "exemplars"}
    assert any("A lenient judge" in note for note in prose.notes(pair))


def test_pairing_by_exemplar_sees_what_independent_samples_hide(tmp_path: Path) -> None:
    low = grades(5, spread=1.0)
    rng = np.random.default_rng(6)
    high = np.minimum(low + (rng.random(low.shape) < 0.12), 3)
    first = write(tmp_path / "first", low, NEURONS, judge="openai/a")
    second = write(tmp_path / "second", high, NEURONS, judge="openai/b")
    apart = write(tmp_path / "apart", high, NEURONS, judge="openai/b", dictionary="e", corpus="other")
    [paired], [unpaired] = compared(first, second).pairs, compared(first, apart).pairs
    assert (paired.result.verdict, unpaired.result.verdict) == ("better", "cannot be told")
    assert unpaired.pairing["feature"] == "nothing"
    assert any("share neither units nor texts" in note for note in prose.notes(unpaired))
    assert (paired.result.smallest or 9) < (unpaired.result.smallest or 0) / 2


def test_the_same_grades_cannot_be_told_apart_and_the_reason_is_said(tmp_path: Path) -> None:
    first = write(tmp_path / "first", grades(7), NEURONS, judge="openai/a")
    second = write(tmp_path / "second", grades(7), NEURONS, judge="openai/b")
    [pair] = compared(first, second).pairs
    assert (pair.result.difference, pair.result.verdict) == (0.0, "cannot be told")
    assert any("all 40 units have the same difference" in note for note in prose.notes(pair))
    assert set(pair.units["change"]) == {"same grades"}


def test_missing_units_and_unequal_unscored_shares_are_left_out_of_both_and_counted(tmp_path: Path) -> None:
    full = grades(8)
    holed = full.copy()
    holed[0] = np.nan
    strong = (full >= 2) & (np.random.default_rng(9).random(full.shape) < 0.4)
    holed[strong] = np.nan  # the second judge refuses the items that deserve high grades
    first = write(tmp_path / "first", full, NEURONS, judge="openai/a")
    second = write(tmp_path / "second", holed, NEURONS, judge="openai/b")
    [pair] = compared(first, second).pairs
    assert pair.result.difference == 0.0
    assert pair.only_a["feature"] == 1 + int(np.isnan(holed[1:]).all(axis=(1, 2)).sum())
    assert pair.dropped_a["feature"] > 0
    assert pair.if_unscored is not None
    assert pair.if_unscored[0] < 0 < pair.if_unscored[1]
    said = prose.notes(pair)
    assert any(note.startswith("Left out: 1 feature of first") for note in said)
    assert any(note.startswith("Unequal shares are missing.") for note in said)
    assert "only in a" in set(pair.units["change"])


def test_units_are_listed_by_how_their_grades_changed(tmp_path: Path) -> None:
    before = np.full((UNITS, BINS, ITEMS), 1.0)
    after = before.copy()
    after[3], after[5] = 3.0, 0.0
    first = write(tmp_path / "first", before, NEURONS, judge="openai/a")
    second = write(tmp_path / "second", after, NEURONS, judge="openai/b")
    [pair] = compared(first, second).pairs
    features = pair.units.loc[pair.units["kind"] == "feature"].set_index("unit_id")
    assert features.loc["feature-3", "change"] == "higher"
    assert features.loc["feature-5", "change"] == "lower"
    assert (features["change"] == "same grades").sum() == UNITS - 2
    assert list(pair.units["unit_id"][:2]) == ["feature-3", "feature-5"]
    assert features.loc["feature-3", "explanation_b"] == "names of rivers, by openai/b in second"


def test_distinction_is_compared_where_both_runs_have_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    told = rng.beta(4, 4, UNITS)
    first = write(tmp_path / "first", grades(11), NEURONS, judge="openai/a", told=told)
    second = write(tmp_path / "second", grades(11), NEURONS, judge="openai/b", told=told + rng.uniform(0, 0.3, UNITS))
    [pair] = compared(first, second).pairs
    result = next(result for result in pair.results if result.measure == "distinction")
    assert (result.verdict, result.n_units) == ("better", UNITS)


def test_runs_over_other_seeds_give_the_noise_of_retraining(tmp_path: Path) -> None:
    first = [write(tmp_path / f"a{i}", grades(20 + i, 0.5), NEURONS, dictionary=f"a{i}") for i in range(3)]
    levels = (0.35, 0.5, 0.65)
    second = [
        write(tmp_path / f"b{i}", grades(30 + i, level), NEURONS, dictionary=f"b{i}") for i, level in enumerate(levels)
    ]
    [pair] = compared(tuple(first), tuple(second)).pairs
    noise = pair.retraining
    assert noise is not None
    assert (noise.n_runs, noise.freedom, noise.verdict) == (6, 4, "cannot be told")
    assert noise.deviation > 0.2
    assert any(note.startswith("Noise of retraining: ") for note in prose.notes(pair))
    [alone] = compared(first[0], second[0]).pairs
    assert alone.retraining is None
    assert any("The noise of retraining is unknown" in note for note in prose.notes(alone))


def test_of_a_matrix_the_pairs_that_differ_in_one_thing_are_compared_with_wider_intervals(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / f"{d}-{j}", grades(40 + ord(d) + ord(j)), NEURONS, dictionary=d, judge=f"openai/{j}")
        for d in "de"
        for j in "xy"
    ]
    comparison = compared(*folders)
    assert [(pair.a, pair.b) for pair in comparison.pairs] == [
        ("d-x", "d-y"),
        ("d-x", "e-x"),
        ("d-y", "e-y"),
        ("e-x", "e-y"),
    ]
    [alone] = compared(folders[0], folders[1]).pairs
    together = comparison.pairs[0].result
    assert together.ci_low is not None
    assert alone.result.ci_low is not None
    assert together.ci_low < alone.result.ci_low


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("here", "nowhere"), "there is no run 'nowhere' in "),
        (("here", "begun"), "holds no summary.json, so the run is not finished: "),
        (("here", "here"), "here is given twice: name each run once"),
        (("here", "other-bins"), "have nothing to compare: the activation bins are 4 in one and 2 in the other"),
        (("here", "neurons-only"), "have nothing to compare: no kind of unit is graded in all of them"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_one_line(
    tmp_path: Path, names: tuple[str, str], message: str
) -> None:
    none = np.full((UNITS, BINS, ITEMS), np.nan)
    write(tmp_path / "here", grades(50), none)
    write(tmp_path / "other-bins", grades(50)[:, :2], NEURONS[:, :2])
    write(tmp_path / "neurons-only", none, NEURONS)
    (tmp_path / "begun").mkdir()
    with pytest.raises(UsageError) as error:
        compare([Side((read(name, tmp_path),)) for name in names])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
