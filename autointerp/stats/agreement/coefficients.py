"""Agreement of graders: of a judge with itself, of two graders, and of any number of them.

No single statistic suffices: if nine grades in ten are the same, kappa and alpha are low although nearly all pairs agree, and AC2
is not. So all of them are computed, each with an interval over units, because items of one unit share its explanation. Every
statistic is a function of sums over units, whose interval `jackknife` computes. A statistic that is undefined says why, and is never
NaN; so does an interval. A coefficient has none if the grades vary in too few units: of 20 units with two grades above 0 in all,
kappa says little, whatever its formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from autointerp.stats import jackknife
from autointerp.stats.agreement import sums as unit_sums
from autointerp.stats.comparison import MIN_FOR_INTERVAL
from autointerp.stats.estimates import Figure, Part, no_figure
from autointerp.stats.jackknife import SAME, Floats, Scale

_ONE_GRADE = 0.05
"""Mean grades that differ by less than this are one grade: token probabilities of one question vary as much between calls."""
SCALES: Mapping[str, Scale] = {
    **dict.fromkeys(("exact", "adjacent", "flip_rate"), "share"),
    **dict.fromkeys(("kappa", "ac2", "alpha", "icc_single", "icc_mean"), "coefficient"),
    "within_sd": "positive",
    "difference": "plain",
}
"""The scale on which the interval of each statistic is computed."""
LEAST_UNITS: Mapping[str, int] = {"icc_single": 10, "icc_mean": 10}
"""Least numbers of units for an interval, if more than `MIN_FOR_INTERVAL`: of 8 heavy-tailed units, an ICC's interval covers .86."""
_BY_SPREAD = ("kappa", "alpha", "icc_single", "icc_mean")
"""Statistics that compare disagreement with the spread of the grades: units without spread say nothing about them."""


class Repeats(Part):
    """A judge's agreement with itself, on the items that it graded more than once.

    ICC is the intraclass correlation of Shrout and Fleiss (1979); with unequal numbers of grades, k is the effective number of
    the analysis of variance.
    """

    n: int
    """Number of items graded more than once."""
    n_units: int
    """Number of units to which these items belong."""
    per_item: float
    """Mean number of grades per item."""
    within_sd: Figure
    """Standard deviation of the grades of one item."""
    flip_rate: Figure
    """Probability that two grades of one item differ; with token probabilities, the most likely grades are compared."""
    icc_single: Figure
    """ICC(1,1): the reliability of a single grade."""
    icc_mean: Figure
    """ICC(1,k): the reliability of the mean of an item's grades."""


class Agreement(Part):
    """Agreement of two graders on the items that both graded.

    If the items are a sample, every statistic weights them by the inverse of their sampling probability; counts are not weighted.
    """

    a: str
    """Name of the first grader."""
    b: str
    """Name of the second grader."""
    n: int
    """Number of items that both graded."""
    n_units: int
    """Number of units to which these items belong."""
    grades: tuple[int, ...]
    """The grades of the rubric, in ascending order."""
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[i][j]`: number of items to which `a` gave `grades[i]` and `b` gave `grades[j]`."""
    exact: Figure
    """Share of items with the same grade."""
    adjacent: Figure
    """Share of items with grades at most one level apart."""
    kappa: Figure
    """Cohen's kappa with quadratic weights."""
    ac2: Figure
    """Gwet's AC2 with quadratic weights (Gwet 2014, chapter 3)."""
    alpha: Figure
    """Krippendorff's alpha for ordinal data (Krippendorff 2019, chapter 12)."""
    difference: Figure
    """Mean grade of `b` minus mean grade of `a`."""


PAIR_FIGURES = ("exact", "adjacent", "kappa", "ac2", "alpha", "difference")
"""The statistics of an `Agreement`."""


class Panel(Part):
    """Agreement of any number of graders on the items that at least two of them graded."""

    raters: tuple[str, ...]
    """Names of the graders."""
    n: int
    """Number of items that at least two graded."""
    n_units: int
    """Number of units to which these items belong."""
    alpha: Figure
    """Krippendorff's alpha for ordinal data (Krippendorff 2019, chapter 12)."""


def repeats(scores: pd.DataFrame, *, confidence: float, **_: float) -> Repeats:
    """A judge's agreement with itself, from the columns item, unit_id, score and, if scores are mean grades, grade; one row per answer.

    `score` may lie between two grades, and `grade` is then the most likely one. Without that column it is the nearest whole number:
    two fractions nearly always differ, and would make any judge look as if it never repeated a grade. Of the options of
    `comparison.interval_options` only `confidence` matters: nothing is resampled.
    """
    items = scores.groupby(["unit_id", "item"])["score"].agg(["size", "mean", "var"]).astype("float64")
    grade = scores["grade"] if "grade" in scores else np.floor(scores["score"].astype("float64") + 0.5)
    same = scores.assign(grade=grade).groupby(["unit_id", "item", "grade"]).size()
    agreeing = (same * (same - 1)).groupby(level=["unit_id", "item"]).sum()
    items["flip"] = 1 - agreeing / (items["size"] * (items["size"] - 1)).where(items["size"] > 1)
    items = items.loc[items["size"] > 1]
    n = len(items)
    if not n:
        none = no_figure("undefined: no item was graded twice")
        return Repeats(n=0, n_units=0, per_item=0.0, within_sd=none, flip_rate=none, icc_single=none, icc_mean=none)
    middle = float(items["mean"].mean())
    size, mean, var, flip = (items[name].to_numpy() for name in ("size", "mean", "var", "flip"))
    # Squares about the middle: sums of plain squares would lose digits.
    sums = _sums_by_unit(
        items.index.get_level_values("unit_id"), unit_sums.repeat_terms(size, mean - middle, var, flip)
    )
    undefined = {}
    if n == 1:
        undefined = dict.fromkeys(("icc_single", "icc_mean"), "undefined: one item")
    elif float(np.ptp(scores["score"])) < _ONE_GRADE:
        undefined = dict.fromkeys(("icc_single", "icc_mean"), f"undefined: all grades are {middle:.3g}")
    figures = _figures(sums, unit_sums.repeat_figures, unit_sums.repeat_spread(sums), sums[:, 0], undefined, confidence)
    return Repeats(n=n, n_units=len(sums), per_item=float(size.mean()), **figures)


def pair(scores: pd.DataFrame, a: str, b: str, *, grades: Sequence[int], confidence: float, **_: float) -> Agreement:
    """Agreement of graders `a` and `b`, from the columns item, unit_id, rater, score and, if items were sampled, weight.

    `weight` is 1 / the item's sampling probability. Only a grader's first grade of an item counts. Of the options of
    `comparison.interval_options` only `confidence` matters. Raises ValueError if a score is not among `grades`.
    """
    levels = tuple(sorted(grades))
    first = _first_grades(scores, levels)
    both = first.loc[first["rater"] == a].merge(first.loc[first["rater"] == b, ["item", "place"]], on="item")
    rows, columns = (both[name].to_numpy(dtype=np.int64) for name in ("place_x", "place_y"))
    q, n = len(levels), len(both)
    counts = np.bincount(rows * q + columns, minlength=q * q).reshape(q, q)
    confusion = tuple(tuple(int(c) for c in row) for row in counts)
    if not n:
        none = no_figure(f"undefined: no item was graded by both {a} and {b}")
        nothing = dict.fromkeys(PAIR_FIGURES, none)
        return Agreement(a=a, b=b, n=0, n_units=0, grades=levels, confusion=confusion, **nothing)
    cells = np.zeros((n, q * q))
    cells[np.arange(n), rows * q + columns] = both["weight"] * n / both["weight"].sum()
    sums = _sums_by_unit(pd.Index(both["unit_id"]), cells)
    used = np.unique([rows, columns])
    undefined = {}
    if n == 1:
        undefined = dict.fromkeys(("kappa", "ac2", "alpha"), "undefined: one item")
    elif len(used) == 1:
        undefined = dict.fromkeys(("kappa", "alpha"), f"undefined: all grades are {levels[used[0]]}")
    spread = unit_sums.pair_spread(sums, levels)
    figures = _figures(
        sums, lambda s: unit_sums.pair_figures(s, levels), spread, sums.sum(axis=1), undefined, confidence
    )
    return Agreement(a=a, b=b, n=n, n_units=len(sums), grades=levels, confusion=confusion, **figures)


def panel(scores: pd.DataFrame, *, grades: Sequence[int], confidence: float, **_: float) -> Panel:
    """Agreement of all graders, from the columns of `pair`. A grader need not have graded every item."""
    levels = tuple(sorted(grades))
    first = _first_grades(scores, levels)
    raters = tuple(sorted(str(r) for r in first["rater"].unique()))
    times = first.groupby("item")["rater"].transform("size")
    first = first.loc[times > 1]
    if not len(first):
        return Panel(raters=raters, n=0, n_units=0, alpha=no_figure("undefined: no item has two graders"))
    items = first.drop_duplicates("item").set_index("item")
    codes = pd.Index(items["unit_id"])
    counts = pd.crosstab(first["item"], first["place"]).reindex(columns=range(len(levels)), fill_value=0)
    n_given = counts.reindex(items.index).to_numpy(dtype=np.float64)
    # Coincidences of an item: ordered pairs of its grades by different graders, divided by its graders - 1.
    pairs = n_given[:, :, None] * n_given[:, None, :] - np.eye(len(levels)) * n_given[:, None, :]
    pairs /= (n_given.sum(axis=1) - 1)[:, None, None]
    weight = (items["weight"] * len(items) / items["weight"].sum()).to_numpy()
    sums = _sums_by_unit(codes, (pairs * weight[:, None, None]).reshape(len(items), -1))
    each = first.groupby("item")["score"].agg(["size", "mean", "var"]).reindex(items.index).to_numpy(dtype=np.float64)
    terms = unit_sums.repeat_terms(each[:, 0], each[:, 1], each[:, 2], np.zeros(len(items)))
    spread = unit_sums.repeat_spread(_sums_by_unit(codes, terms))
    used = first["score"].unique()
    undefined = {}
    if len(items) == 1:
        undefined = {"alpha": "undefined: one item"}
    elif len(used) == 1:
        undefined = {"alpha": f"undefined: all grades are {used[0]:g}"}
    figures = _figures(
        sums, lambda s: unit_sums.panel_figures(s, levels), spread, sums.sum(axis=1), undefined, confidence
    )
    return Panel(raters=raters, n=len(items), n_units=len(sums), alpha=figures["alpha"])


def _first_grades(scores: pd.DataFrame, levels: Sequence[int]) -> pd.DataFrame:
    """Each grader's first grade of each item, with `place`, the grade's index in `levels`, and `weight`. Raises ValueError."""
    rows = scores.drop_duplicates(["item", "rater"])
    place = rows["score"].map({grade: i for i, grade in enumerate(levels)})
    if bool(place.isna().any()):
        unknown = rows.loc[place.isna(), "score"].iloc[0]
        raise ValueError(f"scores: {unknown} is none of the grades {', '.join(map(str, levels))}")
    weight = rows["weight"].astype("float64") if "weight" in rows else 1.0
    return rows.assign(place=place.astype("int64"), weight=weight)


def _sums_by_unit(unit_ids: pd.Index[str], values: Floats) -> Floats:
    """Sums (units, columns) of the rows of each unit, with units in alphabetical order so that seeded resamples are the same."""
    codes, names = pd.factorize(unit_ids, sort=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def estimates(
    sums: Floats,
    statistic: Callable[[Floats], Mapping[str, Floats]],
    spread: Floats,
    weight: Floats,
    confidence: float,
) -> dict[str, tuple[Floats, jackknife.Limits]]:
    """Every statistic with its limits, from sums (..., units, terms); NaN stands for what is undefined.

    `statistic` maps sums (..., terms) to values. `weight` and `spread` (..., units) are each unit's number of items and its part of
    the spread of the grades.
    """
    items, varying = jackknife.effective_number(weight), jackknife.effective_number(spread)
    total = sums.sum(axis=-2)
    with np.errstate(all="ignore"):
        values, left_out = statistic(total), statistic(total[..., None, :] - sums)
    found = {}
    for name, value in values.items():
        units = np.minimum(items, varying) if name in _BY_SPREAD else items
        low, high = jackknife.limits(value, left_out[name], units, SCALES[name], confidence)
        enough = (units >= MIN_FOR_INTERVAL - SAME) & (sums.shape[-2] >= LEAST_UNITS.get(name, MIN_FOR_INTERVAL))
        found[name] = value, jackknife.Limits(np.where(enough, low, np.nan), np.where(enough, high, np.nan))
    return found


def _figures(
    sums: Floats,
    statistic: Callable[[Floats], Mapping[str, Floats]],
    spread: Floats,
    weight: Floats,
    undefined: Mapping[str, str],
    confidence: float,
) -> dict[str, Figure]:
    """`estimates` of one sample; `undefined` holds the reasons for missing values."""
    figures = {}
    for name, (value, (low, high)) in estimates(sums, statistic, spread, weight, confidence).items():
        if name in undefined or not np.isfinite(value):
            figures[name] = no_figure(undefined.get(name, "undefined: the grades do not vary"))
        elif np.isfinite(low):
            figures[name] = Figure(value=float(value), ci_low=float(low), ci_high=float(high), why=None)
        else:
            least = LEAST_UNITS.get(name, MIN_FOR_INTERVAL)
            why = _no_interval(len(sums), least, weight, spread if name in _BY_SPREAD else None)
            figures[name] = Figure(value=float(value), ci_low=None, ci_high=None, why=f"no interval: {why}")
    return figures


def _no_interval(n_units: int, least: int, weight: Floats, spread: Floats | None) -> str:
    """Why a statistic that is defined has no interval."""
    if n_units < least:
        return f"fewer than {least} units"
    if spread is not None and not spread.any():
        return "the items do not differ beyond the noise of their grades"
    for parts, what in ((weight, "items belong to"), (spread, "differences between grades lie in")):
        if parts is not None and (effective := jackknife.effective_number(parts)) < MIN_FOR_INTERVAL - SAME:
            return f"nearly all {what} {max(1, round(float(effective)))} of {n_units} units"
    return "the same in every unit"
