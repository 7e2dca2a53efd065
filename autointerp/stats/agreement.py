"""How far graders agree: a judge with itself, two graders with each other, and any number of them.

No one figure will do: with nine grades in ten alike, kappa and alpha fall though nearly all pairs agree, and AC2 does not.
So all are given, each with an interval over units, since items of one unit share its explanation. Every figure is a function
of sums over units, which lets one pass resample them all. What is undefined says why, and is never NaN.
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
_BATCH_VALUES = 1 << 20
"""Sums resampled at once, which bounds memory for any number of units."""


class Repeats(Part):
    """A judge's agreement with itself, over `n` items that it graded more than once, `per_item` times on average.

    `within_sd` is the standard deviation within an item and `flip_rate` the chance that two grades of an item differ.
    `icc_single` is ICC(1,1), the reliability of one grade, `icc_mean` ICC(1,k), that of the mean of an item's grades
    (Shrout and Fleiss 1979); with unequal repeats k is the analysis of variance's effective number.
    """

    n: int
    """Items graded more than once."""
    n_units: int
    """Units that they belong to."""
    per_item: float
    """Mean number of grades of an item."""
    within_sd: Figure
    """Standard deviation of the grades of one item."""
    flip_rate: Figure
    """Chance that two grades of one item differ."""
    icc_single: Figure
    """ICC(1,1): the reliability of one grade."""
    icc_mean: Figure
    """ICC(1,k): the reliability of the mean of an item's grades."""


class Agreement(Part):
    """Agreement of two graders on the `n` items that both graded.

    `exact` and `adjacent` are shares of items with the same grade, and with at most one step between. `kappa` is Cohen's
    with quadratic weights, `ac2` Gwet's with the same weights (Gwet 2014, chapter 3), `alpha` Krippendorff's for ordinal
    data (2019, chapter 12), `difference` the mean of `b` minus `a`. `confusion[i][j]` counts items to which `a` gave
    `grades[i]` and `b` `grades[j]`; weights enter every figure but the counts.
    """

    a: str
    """The one grader."""
    b: str
    """The other."""
    n: int
    """Items that both graded."""
    n_units: int
    """Units that they belong to."""
    grades: tuple[int, ...]
    """The grades of the rubric, ascending."""
    confusion: tuple[tuple[int, ...], ...]
    """`confusion[i][j]`: items to which `a` gave `grades[i]` and `b` gave `grades[j]`."""
    exact: Figure
    """Share of items with the same grade."""
    adjacent: Figure
    """Share of items at most one grade apart."""
    kappa: Figure
    """Cohen's kappa with quadratic weights."""
    ac2: Figure
    """Gwet's AC2 with quadratic weights."""
    alpha: Figure
    """Krippendorff's alpha for ordinal data."""
    difference: Figure
    """Mean grade of `b` minus that of `a`."""


PAIRED = ("exact", "adjacent", "kappa", "ac2", "alpha", "difference")
"""The figures of an `Agreement`."""


class Panel(Part):
    """Agreement of any number of graders on the `n` items that two or more of them graded: Krippendorff's ordinal alpha."""

    raters: tuple[str, ...]
    """The graders."""
    n: int
    """Items that two or more graded."""
    n_units: int
    """Units that they belong to."""
    alpha: Figure
    """Krippendorff's alpha for ordinal data."""


def repeats(scores: pd.DataFrame, *, confidence: float, resamples: int, seed: int) -> Repeats:
    """A judge with itself, from the columns item, unit_id and score: a row a grade."""
    items = scores.groupby(["unit_id", "item"])["score"].agg(["size", "mean", "var"]).astype("float64")
    same = scores.groupby(["unit_id", "item", "score"]).size()
    agreeing = (same * (same - 1)).groupby(level=["unit_id", "item"]).sum()
    items["flip"] = 1 - agreeing / (items["size"] * (items["size"] - 1)).where(items["size"] > 1)
    items = items.loc[items["size"] > 1]
    n = len(items)
    if not n:
        none = no_figure("undefined: no item was graded twice")
        return Repeats(n=0, n_units=0, per_item=0.0, within_sd=none, flip_rate=none, icc_single=none, icc_mean=none)
    middle = float(items["mean"].mean())
    size, mean, var = (items[name].to_numpy() for name in ("size", "mean", "var"))
    # About the middle: sums of squares would lose digits otherwise.
    parts = [np.ones(n), size, size**2, var, items["flip"].to_numpy(), (size - 1) * var]
    parts += [size * (mean - middle), size * (mean - middle) ** 2]
    sums = _by_unit(items.index.get_level_values("unit_id"), np.stack(parts, axis=1))
    blank = {}
    if n == 1:
        blank = dict.fromkeys(("icc_single", "icc_mean"), "undefined: one item")
    elif scores["score"].nunique() == 1:
        blank = dict.fromkeys(("icc_single", "icc_mean"), f"undefined: all grades are {scores['score'].iloc[0]:g}")
    figures = _figures(sums, _repeat_figures, blank, confidence, resamples, seed)
    return Repeats(n=n, n_units=len(sums), per_item=float(size.mean()), **figures)


def pair(
    scores: pd.DataFrame, a: str, b: str, *, grades: Sequence[int], confidence: float, resamples: int, seed: int
) -> Agreement:
    """Graders `a` and `b` of the columns item, unit_id, rater, score and, where items were sampled, weight.

    `weight` is 1 / the item's inclusion probability. A grader's first grade of an item counts. Raises ValueError where a
    score is none of `grades`.
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
        nothing = dict.fromkeys(PAIRED, none)
        return Agreement(a=a, b=b, n=0, n_units=0, grades=levels, confusion=confusion, **nothing)
    cells = np.zeros((n, q * q))
    cells[np.arange(n), rows * q + columns] = both["weight"] * n / both["weight"].sum()
    sums = _by_unit(pd.Index(both["unit_id"]), cells)
    used = np.unique([rows, columns])
    blank = {}
    if n == 1:
        blank = dict.fromkeys(("kappa", "ac2", "alpha"), "undefined: one item")
    elif len(used) == 1:
        blank = dict.fromkeys(("kappa", "alpha"), f"undefined: all grades are {levels[used[0]]}")
    figures = _figures(sums, lambda s: _pair_figures(s, levels), blank, confidence, resamples, seed)
    return Agreement(a=a, b=b, n=n, n_units=len(sums), grades=levels, confusion=confusion, **figures)


def panel(scores: pd.DataFrame, *, grades: Sequence[int], confidence: float, resamples: int, seed: int) -> Panel:
    """All graders together; the columns are those of `pair`, and a grader may have left items out."""
    levels = tuple(sorted(grades))
    first = _first_grades(scores, levels)
    raters = tuple(sorted(str(r) for r in first["rater"].unique()))
    times = first.groupby("item")["rater"].transform("size")
    first = first.loc[times > 1]
    if not len(first):
        return Panel(raters=raters, n=0, n_units=0, alpha=no_figure("undefined: no item was graded by two"))
    items = first.drop_duplicates("item").set_index("item")
    counts = pd.crosstab(first["item"], first["place"]).reindex(columns=range(len(levels)), fill_value=0)
    given = counts.reindex(items.index).to_numpy(dtype=np.float64)
    pairs = given[:, :, None] * given[:, None, :] - np.eye(len(levels)) * given[:, None, :]
    pairs /= (given.sum(axis=1) - 1)[:, None, None]
    weight = (items["weight"] * len(items) / items["weight"].sum()).to_numpy()
    sums = _by_unit(pd.Index(items["unit_id"]), (pairs * weight[:, None, None]).reshape(len(items), -1))
    used = first["score"].unique()
    blank = {}
    if len(items) == 1:
        blank = {"alpha": "undefined: one item"}
    elif len(used) == 1:
        blank = {"alpha": f"undefined: all grades are {used[0]:g}"}
    q = len(levels)
    figures = _figures(
        sums, lambda s: {"alpha": _alpha(s.reshape(*s.shape[:-1], q, q))}, blank, confidence, resamples, seed
    )
    return Panel(raters=raters, n=len(items), n_units=len(sums), alpha=figures["alpha"])


def _first_grades(scores: pd.DataFrame, levels: Sequence[int]) -> pd.DataFrame:
    rows = scores.drop_duplicates(["item", "rater"])
    place = rows["score"].map({grade: i for i, grade in enumerate(levels)})
    if bool(place.isna().any()):
        strange = rows.loc[place.isna(), "score"].iloc[0]
        raise ValueError(f"scores: {strange} is none of the grades {', '.join(map(str, levels))}")
    weight = rows["weight"].astype("float64") if "weight" in rows else 1.0
    return rows.assign(place=place.astype("int64"), weight=weight)


def _by_unit(unit_ids: pd.Index[str], values: Floats) -> Floats:
    """Sums of the rows of each unit, units in the order of their names so that the seeded resamples are the same."""
    codes, names = pd.factorize(unit_ids, sort=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def _repeat_figures(s: Floats) -> dict[str, Floats]:
    n, size, squares, var, flips, within, first, second = np.moveaxis(s, -1, 0)
    k = (size - squares / size) / (n - 1)
    ms_within, ms_between = within / (size - n), (second - first**2 / size) / (n - 1)
    spread = ms_between + (k - 1) * ms_within
    icc = (ms_between - ms_within) / np.where(spread > _SAME, spread, np.nan)
    single = {"within_sd": np.sqrt(var / n), "flip_rate": flips / n, "icc_single": icc}
    return single | {"icc_mean": (ms_between - ms_within) / np.where(ms_between > _SAME, ms_between, np.nan)}


def _pair_figures(s: Floats, levels: Sequence[int]) -> dict[str, Floats]:
    q, grade = len(levels), np.asarray(levels, dtype=np.float64)
    cells = s.reshape(*s.shape[:-1], q, q)
    p = cells / s.sum(axis=-1)[..., None, None]
    place = np.arange(q)
    apart = ((place[:, None] - place) / max(q - 1, 1)) ** 2
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    share = (rows + columns) / 2
    observed = (p * apart).sum(axis=(-2, -1))
    expected = (rows[..., :, None] * columns[..., None, :] * apart).sum(axis=(-2, -1))
    # Gwet's chance agreement, as disagreement.
    by_chance = 1 - (1 - apart).sum() / max(q * (q - 1), 1) * (share * (1 - share)).sum(axis=-1)
    return {
        "exact": (p * (apart == 0)).sum(axis=(-2, -1)),
        "adjacent": (p * (np.abs(place[:, None] - place) <= 1)).sum(axis=(-2, -1)),
        "kappa": 1 - observed / np.where(expected > _SAME, expected, np.nan),
        "ac2": 1 - observed / np.where(by_chance > _SAME, by_chance, np.nan),
        "alpha": _alpha(cells + np.swapaxes(cells, -1, -2)),
        "difference": columns @ grade - rows @ grade,
    }


def _alpha(coincidences: Floats) -> Floats:
    """Krippendorff's alpha from matrices of coincidences (..., grades, grades) with his ordinal distance."""
    given = coincidences.sum(axis=-1)
    total = given.sum(axis=-1)
    middle = np.cumsum(given, axis=-1) - given / 2
    apart = (middle[..., :, None] - middle[..., None, :]) ** 2
    observed = (coincidences * apart).sum(axis=(-2, -1))
    expected = (given[..., :, None] * given[..., None, :] * apart).sum(axis=(-2, -1)) / (total - 1)
    return np.asarray(1 - observed / np.where(expected > _SAME, expected, np.nan), dtype=np.float64)


def _figures(
    sums: Floats,
    statistic: Callable[[Floats], Mapping[str, Floats]],
    blank: Mapping[str, str],
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    """Every figure of `statistic`, a function of sums over units (..., sums), with its interval; `blank` ones say why."""
    n = len(sums)
    with np.errstate(all="ignore"):
        whole = {name: float(value) for name, value in statistic(sums.sum(axis=0)).items()}
        left_out = statistic(sums.sum(axis=0) - sums)
        drawn = _resampled(sums, statistic, resamples, seed) if n >= MIN_FOR_INTERVAL else {}
    found = {}
    for name, value in whole.items():
        if name in blank or not np.isfinite(value):
            found[name] = no_figure(blank.get(name, "undefined: the grades do not vary"))
            continue
        limits = _bca(value, left_out[name], drawn[name], confidence) if drawn else None
        if limits is None:
            why = "no interval: all units agree alike" if drawn else f"no interval: fewer than {MIN_FOR_INTERVAL} units"
            found[name] = Figure(value=value, ci_low=None, ci_high=None, why=why)
        else:
            found[name] = Figure(value=value, ci_low=limits[0], ci_high=limits[1], why=None)
    return found


def _resampled(
    sums: Floats, statistic: Callable[[Floats], Mapping[str, Floats]], resamples: int, seed: int
) -> dict[str, Floats]:
    rng, n, parts = np.random.default_rng(seed), len(sums), []
    batch = max(1, _BATCH_VALUES // n)
    for start in range(0, resamples, batch):
        times = rng.multinomial(n, np.full(n, 1 / n), size=min(batch, resamples - start))
        parts.append(statistic(times @ sums))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _bca(value: float, left_out: Floats, drawn: Floats, confidence: float) -> tuple[float, float] | None:
    """Efron's BCa interval; resamples in which the figure is undefined are left out. None where nothing varies."""
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if len(drawn) < 2 or len(left_out) < 2 or np.ptp(drawn) < _SAME or np.ptp(left_out) < _SAME:
        return None
    below = (np.mean(drawn < value - _SAME) + np.mean(drawn <= value + _SAME)) / 2
    shift = stats.norm.ppf(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = shift + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(drawn, stats.norm.cdf(shift + z / (1 - acceleration * z)))
    return float(low), float(high)
