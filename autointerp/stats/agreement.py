"""Agreement of graders: of a judge with itself, of two graders, and of any number of them.

No single statistic suffices: if nine grades in ten are the same, kappa and alpha are low although nearly all pairs agree, and AC2
is not. So all of them are computed, each with an interval over units, because items of one unit share its explanation. Every
statistic is a function of sums over units, so one set of resamples serves all of them: that is why the BCa interval is written out
here, while `comparison` uses scipy's for single means. A statistic that is undefined says why, and is never NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autointerp.stats.comparison import MIN_FOR_INTERVAL
from autointerp.stats.estimates import Figure, Part, no_figure

Floats = NDArray[np.float64]
_SAME = 1e-12
_ONE_GRADE = 0.05
"""Mean grades that differ by less than this are one grade: token probabilities of one question vary as much between calls."""
_BATCH_VALUES = 1 << 20
"""Number of values resampled at once, which bounds memory for any number of units."""


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


def repeats(scores: pd.DataFrame, *, confidence: float, resamples: int, seed: int) -> Repeats:
    """A judge's agreement with itself, from the columns item, unit_id, score and, if scores are mean grades, grade; one row per answer.

    `score` may lie between two grades, and `grade` is then the most likely one. Without that column it is the nearest whole number:
    two fractions nearly always differ, and would make any judge look as if it never repeated a grade.
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
    size, mean, var = (items[name].to_numpy() for name in ("size", "mean", "var"))
    # Squares about the middle: sums of plain squares would lose digits.
    terms = [np.ones(n), size, size**2, var, items["flip"].to_numpy(), (size - 1) * var]
    terms += [size * (mean - middle), size * (mean - middle) ** 2]
    sums = _sums_by_unit(items.index.get_level_values("unit_id"), np.stack(terms, axis=1))
    undefined = {}
    if n == 1:
        undefined = dict.fromkeys(("icc_single", "icc_mean"), "undefined: one item")
    elif float(np.ptp(scores["score"])) < _ONE_GRADE:
        undefined = dict.fromkeys(("icc_single", "icc_mean"), f"undefined: all grades are {middle:.3g}")
    figures = _figures(sums, _repeat_figures, undefined, confidence, resamples, seed)
    return Repeats(n=n, n_units=len(sums), per_item=float(size.mean()), **figures)


def pair(
    scores: pd.DataFrame, a: str, b: str, *, grades: Sequence[int], confidence: float, resamples: int, seed: int
) -> Agreement:
    """Agreement of graders `a` and `b`, from the columns item, unit_id, rater, score and, if items were sampled, weight.

    `weight` is 1 / the item's sampling probability. Only a grader's first grade of an item counts. Raises ValueError if a
    score is not among `grades`.
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
    figures = _figures(sums, lambda s: _pair_figures(s, levels), undefined, confidence, resamples, seed)
    return Agreement(a=a, b=b, n=n, n_units=len(sums), grades=levels, confusion=confusion, **figures)


def panel(scores: pd.DataFrame, *, grades: Sequence[int], confidence: float, resamples: int, seed: int) -> Panel:
    """Agreement of all graders, from the columns of `pair`. A grader need not have graded every item."""
    levels = tuple(sorted(grades))
    first = _first_grades(scores, levels)
    raters = tuple(sorted(str(r) for r in first["rater"].unique()))
    times = first.groupby("item")["rater"].transform("size")
    first = first.loc[times > 1]
    if not len(first):
        return Panel(raters=raters, n=0, n_units=0, alpha=no_figure("undefined: no item has two graders"))
    items = first.drop_duplicates("item").set_index("item")
    counts = pd.crosstab(first["item"], first["place"]).reindex(columns=range(len(levels)), fill_value=0)
    n_given = counts.reindex(items.index).to_numpy(dtype=np.float64)
    # Coincidences of an item: ordered pairs of its grades by different graders, divided by its graders - 1.
    pairs = n_given[:, :, None] * n_given[:, None, :] - np.eye(len(levels)) * n_given[:, None, :]
    pairs /= (n_given.sum(axis=1) - 1)[:, None, None]
    weight = (items["weight"] * len(items) / items["weight"].sum()).to_numpy()
    sums = _sums_by_unit(pd.Index(items["unit_id"]), (pairs * weight[:, None, None]).reshape(len(items), -1))
    used = first["score"].unique()
    undefined = {}
    if len(items) == 1:
        undefined = {"alpha": "undefined: one item"}
    elif len(used) == 1:
        undefined = {"alpha": f"undefined: all grades are {used[0]:g}"}
    q = len(levels)
    figures = _figures(
        sums, lambda s: {"alpha": _alpha(s.reshape(*s.shape[:-1], q, q))}, undefined, confidence, resamples, seed
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


def _repeat_figures(sums: Floats) -> dict[str, Floats]:
    """The statistics of `Repeats` from sums (..., terms), by a one-way analysis of variance with items as groups.

    ICC(1,1) = (MSB - MSW) / (MSB + (k - 1) MSW) and ICC(1,k) = (MSB - MSW) / MSB.
    """
    n, size, squares, var, flips, within, first, second = np.moveaxis(sums, -1, 0)
    k = (size - squares / size) / (n - 1)
    ms_within, ms_between = within / (size - n), (second - first**2 / size) / (n - 1)
    spread = ms_between + (k - 1) * ms_within
    icc = (ms_between - ms_within) / np.where(spread > _SAME, spread, np.nan)
    single = {"within_sd": np.sqrt(var / n), "flip_rate": flips / n, "icc_single": icc}
    return single | {"icc_mean": (ms_between - ms_within) / np.where(ms_between > _SAME, ms_between, np.nan)}


def _pair_figures(sums: Floats, levels: Sequence[int]) -> dict[str, Floats]:
    """The statistics of `Agreement` from confusion matrices (..., q * q) flattened.

    Kappa and AC2 are 1 - observed / expected disagreement, disagreement being the squared distance of two grades as a share of the
    largest. They differ in what is expected by chance: kappa multiplies the two graders' distributions, AC2 asks how evenly their mean
    distribution covers the grades.
    """
    q, grade = len(levels), np.asarray(levels, dtype=np.float64)
    cells = sums.reshape(*sums.shape[:-1], q, q)
    p = cells / sums.sum(axis=-1)[..., None, None]
    place = np.arange(q)
    distance = ((place[:, None] - place) / max(q - 1, 1)) ** 2
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    share = (rows + columns) / 2
    observed = (p * distance).sum(axis=(-2, -1))
    expected = (rows[..., :, None] * columns[..., None, :] * distance).sum(axis=(-2, -1))
    # Gwet's agreement by chance, sum(weights) / (q (q - 1)) * sum(share (1 - share)), as a disagreement.
    gwet_expected = 1 - (1 - distance).sum() / max(q * (q - 1), 1) * (share * (1 - share)).sum(axis=-1)
    return {
        "exact": (p * (distance == 0)).sum(axis=(-2, -1)),
        "adjacent": (p * (np.abs(place[:, None] - place) <= 1)).sum(axis=(-2, -1)),
        "kappa": 1 - observed / np.where(expected > _SAME, expected, np.nan),
        "ac2": 1 - observed / np.where(gwet_expected > _SAME, gwet_expected, np.nan),
        "alpha": _alpha(cells + np.swapaxes(cells, -1, -2)),
        "difference": columns @ grade - rows @ grade,
    }


def _alpha(coincidences: Floats) -> Floats:
    """Krippendorff's alpha, 1 - observed / expected disagreement, from matrices of coincidences (..., grades, grades).

    The ordinal distance of two grades is the squared number of grades given between their midpoints.
    """
    n_given = coincidences.sum(axis=-1)
    total = n_given.sum(axis=-1)
    midpoint = np.cumsum(n_given, axis=-1) - n_given / 2
    distance = (midpoint[..., :, None] - midpoint[..., None, :]) ** 2
    observed = (coincidences * distance).sum(axis=(-2, -1))
    expected = (n_given[..., :, None] * n_given[..., None, :] * distance).sum(axis=(-2, -1)) / (total - 1)
    return np.asarray(1 - observed / np.where(expected > _SAME, expected, np.nan), dtype=np.float64)


def _figures(
    sums: Floats,
    statistic: Callable[[Floats], Mapping[str, Floats]],
    undefined: Mapping[str, str],
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    """Every statistic with its interval. `statistic` maps sums (..., terms) to values; `undefined` holds the reasons for missing ones."""
    n = len(sums)
    with np.errstate(all="ignore"):
        values = {name: float(value) for name, value in statistic(sums.sum(axis=0)).items()}
        left_out = statistic(sums.sum(axis=0) - sums)
        resampled = _resampled(sums, statistic, resamples, seed) if n >= MIN_FOR_INTERVAL else {}
    figures = {}
    for name, value in values.items():
        if name in undefined or not np.isfinite(value):
            figures[name] = no_figure(undefined.get(name, "undefined: the grades do not vary"))
            continue
        limits = _bca(value, left_out[name], resampled[name], confidence) if resampled else None
        if limits is None:
            few = f"no interval: fewer than {MIN_FOR_INTERVAL} units"
            why = "no interval: the same in every unit" if resampled else few
            figures[name] = Figure(value=value, ci_low=None, ci_high=None, why=why)
        else:
            figures[name] = Figure(value=value, ci_low=limits[0], ci_high=limits[1], why=None)
    return figures


def _resampled(
    sums: Floats, statistic: Callable[[Floats], Mapping[str, Floats]], resamples: int, seed: int
) -> dict[str, Floats]:
    """Every statistic in `resamples` samples of as many units, drawn with replacement."""
    rng, n, parts = np.random.default_rng(seed), len(sums), []
    batch = max(1, _BATCH_VALUES // n)
    for start in range(0, resamples, batch):
        # How often each unit is drawn: resampled sums are then one matrix product.
        times = rng.multinomial(n, np.full(n, 1 / n), size=min(batch, resamples - start))
        parts.append(statistic(times @ sums))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _bca(value: float, left_out: Floats, resampled: Floats, confidence: float) -> tuple[float, float] | None:
    """The BCa interval (Efron and Tibshirani 1993, chapter 14), or None if nothing varies.

    `left_out` holds the statistic without each unit in turn. Resamples in which it is undefined are ignored.
    """
    resampled, left_out = resampled[np.isfinite(resampled)], left_out[np.isfinite(left_out)]
    if len(resampled) < 2 or len(left_out) < 2 or np.ptp(resampled) < _SAME or np.ptp(left_out) < _SAME:
        return None
    # Bias correction z0 = quantile of the share of resamples below the value, ties half, kept off 0 and 1.
    below = (np.mean(resampled < value - _SAME) + np.mean(resampled <= value + _SAME)) / 2
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))
    # Acceleration from the jackknife: sum(d^3) / (6 sum(d^2)^1.5), d = mean - value without the unit.
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(resampled, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)
