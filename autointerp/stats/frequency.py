"""Means over the events of units: every activation counts alike, so that bins weigh as much as they have events.

Within a bin the judged exemplars are weighted by 1 / inclusion probability. Half of the documents explain and are never judged. A unit
whose events lie in a few documents is judged by those of the judging side alone, and averaged as if they stood for the others:
over many units such means are biased, because a document weighs less on the side on which it is alone. `estimates` has no such bias.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from autointerp.records import Arm
from autointerp.stats.comparison import event_counts, scored_rows

EVENTS, JUDGING = "bin_events", "judging_bin_events"
"""Columns of units.parquet: events in each bin, and those of them on the judging side. Earlier versions lack the second."""


def unit_means(judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame) -> pd.Series[float]:
    """The mean grade over each unit's events in bins with a grade, indexed by unit_id; NaN if nothing was graded."""
    means = _bin_means(judgements, units, exemplars)
    events = _counts(units, EVENTS)[means.notna()]
    total = events.sum(axis=1)
    return (means * events).sum(axis=1) / total.where(total > 0)


def estimates(judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame) -> pd.Series[float]:
    """For each unit with a grade an estimate of its mean over all events, unbiased over the ways to split documents.

    The difference estimator (Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", 1992, section 6.3): each event is
    first given the mean of its bin in the other units of the kind, then corrected by the judged ones, with twice the weight of the
    judging side's events, since half of the documents are there. An estimate may lie outside the scale; only means over units are
    meant to be shown. Equals `unit_means` for units of an earlier version, whose events on the judging side are not known.
    """
    plain = unit_means(judgements, units, exemplars)
    if JUDGING not in units:
        return plain
    means, events, judging = _bin_means(judgements, units, exemplars), _counts(units, EVENTS), _counts(units, JUDGING)
    kind = units.set_index("unit_id")["kind"]
    expected = _means_of_others(means, kind)
    expected = expected.T.fillna(_means_of_others(plain.to_frame(), kind)[0]).fillna(plain).T
    corrections = (2 * judging * (means - expected)).fillna(0.0)
    total = events.sum(axis=1)
    return ((events * expected + corrections).sum(axis=1) / total.where(total > 0)).where(plain.notna())


def _bin_means(judgements: pd.DataFrame, units: pd.DataFrame, exemplars: pd.DataFrame) -> pd.DataFrame:
    """The mean over the events of each bin, by unit_id and bin from 1; NaN if none has a grade."""
    rows = scored_rows(judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value])
    grades = rows.groupby(["unit_id", "bin", "exemplar_id"])["score"].mean().reset_index()
    weight = weights(grades["exemplar_id"], exemplars)
    of_bin = [grades["unit_id"], grades["bin"]]
    means = (grades["score"] * weight).groupby(of_bin).sum() / weight.groupby(of_bin).sum()
    return means.unstack().reindex(
        index=pd.Index(units["unit_id"], name="unit_id"), columns=_counts(units, EVENTS).columns
    )


def weights(exemplar_ids: pd.Series[str], exemplars: pd.DataFrame) -> pd.Series[float]:
    """1 / inclusion probability of each exemplar, 1 if it is not known."""
    known = exemplars.drop_duplicates("exemplar_id").set_index("exemplar_id")["inclusion_probability"]
    return 1 / exemplar_ids.map(known).astype("float64").fillna(1.0)


def _counts(units: pd.DataFrame, column: str) -> pd.DataFrame:
    """Events by unit_id and bin from 1, of a column of lists."""
    bins = max((len(e) for e in units[column] if isinstance(e, list | tuple | np.ndarray)), default=0)
    table = event_counts(units.assign(**{EVENTS: units[column]}), bins)
    return pd.DataFrame(table, index=pd.Index(units["unit_id"], name="unit_id"), columns=range(1, bins + 1))


def _means_of_others(values: pd.DataFrame, kind: pd.Series[str]) -> pd.DataFrame:
    """In each column the mean of the other units of the same kind; NaN if there are none."""
    groups = values.groupby(kind)
    n = groups.transform("count") - values.notna()
    return (groups.transform("sum") - values.fillna(0.0)) / n.where(n > 0)
