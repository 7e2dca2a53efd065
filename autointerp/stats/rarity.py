"""Grades at equal rarity: features and neurons are compared where they are equally far out among their own activations.

An activation's rarity is the share of all counted tokens at which its unit is at least as active. A bin of (0, max] holds different
rarities in different units: a tenth of the maximum may be exceeded at one token in ten of a neuron and at one in a thousand of a
feature. A *level* holds the same ones in every unit: level 1 the strongest 1 in 100,000 of all tokens, level 2 the strongest 1 in
10,000 without those of level 1, and so on. A unit has a level if it is active often enough to fill it, so that no part of a level is
missing in one kind and present in the other.

The judged exemplars of the main arm are a sample of a unit's events with known probabilities, so each stands for 1 / probability events
of its level. The mean of a kind in a level is the ratio of sum(grade / probability) to sum(1 / probability) over all its units: the
combined ratio estimator (Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", 1992, section 5.6), whose bias falls with the
number of units and not with the few exemplars that one unit has in a level. Its variance is over units, by linearisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from autointerp.records import COMPARED, Arm
from autointerp.stats.bin_uniform import MIN_UNITS, Grades
from autointerp.stats.comparison import scored_rows
from sae.harvest.columns import HISTOGRAM_BINS

Floats = NDArray[np.float64]

LEVELS = (1e-5, 1e-4, 1e-3, 1e-2)
"""The rarest level holds a unit's strongest 1 in 100,000 tokens; each further one those up to its share, without the levels before."""
NUMBERS = tuple(range(1, len(LEVELS) + 1))
"""The levels' numbers, from the rarest."""


class Sums(NamedTuple):
    """Sums over the judged exemplars of each unit in each level, (units, levels), and which units have which level."""

    weight: Floats
    """Of 1 / probability: an estimate of the number of events, in a common unit."""
    graded: Floats
    """Of grade / probability."""
    has: NDArray[np.bool_]
    """Whether the unit is active often enough to fill the level."""


class RarityGrades(NamedTuple):
    """Grades at equal rarity."""

    grades: Grades
    """By kind, the part of each unit in the kind's mean of each level: the mean of a column is the kind's mean there."""
    means: Mapping[str, pd.DataFrame]
    """By kind, the mean grade of each unit in each level; NaN without a grade there."""
    exemplars: Mapping[str, Mapping[int, int]]
    """By kind and level, the number of judged exemplars with a grade."""

    def n_units(self, kind: str, level: int) -> int:
        """Number of units of a kind that have a level and a grade in it."""
        return int(self.means[kind][level].notna().sum())


def shares(low: ArrayLike, high: ArrayLike) -> Floats:
    """The share (..., levels) of each range of rarities (...) that lies in each level. Sums to less than 1 beyond the last level."""
    edges = np.array([0.0, *LEVELS])
    first, last = (np.asarray(values, dtype=np.float64)[..., None] for values in (low, high))
    inside = np.minimum(last, edges[1:]) - np.maximum(first, edges[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(np.maximum(inside, 0.0) / (last - first)))


def fills(density: ArrayLike) -> NDArray[np.bool_]:
    """Whether units of each density (...) are active often enough to fill each level (..., levels)."""
    return np.asarray(np.asarray(density, dtype=np.float64)[..., None] >= np.array(LEVELS))


def parts(sums: Sums) -> Floats:
    """The part (units, levels) of each unit in the mean of its kind: means over units are the ratio estimates, and the standard error
    of such a mean is that of the estimate. NaN where a unit does not have the level, and where nothing is graded.

    With the ratio R = sum(graded) / sum(weight) over the n units that have the level, it is R + n (graded - R weight) / sum(weight).
    """
    weight, graded = (np.where(sums.has, values, 0.0) for values in (sums.weight, sums.graded))
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = graded.sum(axis=0) / total
        found = ratio + sums.has.sum(axis=0) * (graded - ratio * weight) / total
    return np.where(sums.has, found, np.nan)


def ranges(units: pd.DataFrame, exemplars: pd.DataFrame) -> pd.DataFrame:
    """The range of rarities `low` to `high` of each exemplar, indexed by exemplar_id; NaN if it is not known.

    Tables of earlier versions lack the range. It is then that of the exemplar's part of the units' `histogram`, a twentieth of the
    maximum.
    """
    rows = exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")
    missing = pd.Series(np.nan, index=rows.index)
    known = pd.DataFrame({end: rows.get(f"rarity_{end}", missing).astype("float64") for end in ("low", "high")})
    if {"histogram", "n_events"} <= set(units) and {"unit_id", "activation_fraction"} <= set(rows):
        known = known.fillna(_by_histogram(units.set_index("unit_id"), rows))
    return known


def _by_histogram(units: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The ranges of exemplars (indexed by exemplar_id) to the precision of the histograms of their units (indexed by unit_id)."""
    counts = np.zeros((len(units), HISTOGRAM_BINS + 1))
    for row, histogram in zip(counts, units["histogram"], strict=True):
        if (
            isinstance(histogram, list | tuple | np.ndarray) and len(histogram) == HISTOGRAM_BINS
        ):  # dead units have none
            row[:-1] = histogram
    stronger = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # in column p, the events in part p + 1 and those above
    n_tokens = (units["n_events"] / units["density"]).to_numpy(dtype=np.float64)
    unit = units.index.get_indexer(pd.Index(rows["unit_id"]))
    part = np.ceil(rows["activation_fraction"].to_numpy(dtype=np.float64) * HISTOGRAM_BINS - 1e-9).astype(int)
    ends = stronger[unit[:, None], np.clip(part, 1, HISTOGRAM_BINS)[:, None] - [0, 1]] / n_tokens[unit, None]
    ends[(unit < 0) | (part < 1)] = np.nan
    return pd.DataFrame(ends, rows.index, ["low", "high"])


def unit_sums(
    judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame, n_tokens: int
) -> tuple[Sums, NDArray[np.int64]]:
    """The sums of all units in the order of `units`, and their numbers of judged exemplars with a grade in each level."""
    rows = scored_rows(judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value])
    items = rows.groupby(["unit_id", "exemplar_id"])["score"].mean().reset_index()
    known = ranges(units, exemplars).reindex(items["exemplar_id"])
    probability = exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")["inclusion_probability"]
    of_item = items["exemplar_id"].map(probability).to_numpy(dtype=np.float64)[:, None]
    weight = np.nan_to_num(shares(known["low"], known["high"]) / of_item)
    unit = pd.Index(units["unit_id"]).get_indexer(pd.Index(items["unit_id"]))
    totals = [np.zeros((len(units), len(LEVELS))) for _ in range(3)]
    grade = items["score"].to_numpy(dtype=np.float64)[:, None]
    for total, values in zip(totals, (weight, weight * grade, weight > 0), strict=True):
        np.add.at(total, unit, values)
    has = fills(units["density"]) & (n_tokens * np.array(LEVELS) >= 1)
    return Sums(totals[0], totals[1], has), totals[2].astype(np.int64)


def unit_means(
    judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame, n_tokens: int
) -> pd.Series[float]:
    """The mean over levels of each unit's mean grade in a level, over the levels that it has a grade in; NaN without one."""
    sums, _ = unit_sums(judgements, units, exemplars, n_tokens)
    return pd.DataFrame(_means(sums), index=pd.Index(units["unit_id"], name="unit_id")).mean(axis=1)


def grades(judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame, n_tokens: int) -> RarityGrades:
    """The grades of features and neurons by level, and the levels in which they can be compared.

    A unit counts if it has a grade anywhere; for the levels see `level_grades`. `n_tokens` is the number of counted tokens.
    """
    sums, counts = unit_sums(judgements, units, exemplars, n_tokens)
    scored = set(scored_rows(judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value])["unit_id"])
    kinds, is_scored = units["kind"].to_numpy(), units["unit_id"].isin(scored).to_numpy()
    table, means, n_exemplars = {}, {}, {}
    for kind in COMPARED:
        mine = (kinds == kind) & is_scored
        of_kind = Sums(*(values[mine] for values in sums))
        rows = {"index": units["unit_id"].to_numpy()[mine], "columns": list(NUMBERS)}
        table[kind], means[kind] = (pd.DataFrame(values, **rows) for values in (parts(of_kind), _means(of_kind)))
        n_exemplars[kind] = dict(zip(NUMBERS, (counts[mine] * of_kind.has).sum(axis=0).tolist(), strict=True))
    return RarityGrades(level_grades(table, means), means, n_exemplars)


def _means(sums: Sums) -> Floats:
    """The mean grade of each unit in each level (units, levels)."""
    has = sums.has & (sums.weight > 0)
    return np.where(has, sums.graded / np.where(has, sums.weight, 1.0), np.nan)


def level_grades(table: Mapping[str, pd.DataFrame], means: Mapping[str, pd.DataFrame]) -> Grades:
    """The units' parts by kind with the levels that are compared: those in which 5 units of each kind have a grade, or half of the
    kind's if that is less. `means` holds by kind the units' mean grades in each level."""
    graded = {kind: rows for kind, rows in means.items() if len(rows)}
    enough = {kind: max(1, min(MIN_UNITS, (len(rows) + 1) // 2)) for kind, rows in graded.items()}
    compared = [n for n in NUMBERS if graded and all(graded[k][n].notna().sum() >= enough[k] for k in graded)]
    return Grades(table, tuple(compared), tuple(n for n in NUMBERS if n not in compared))
