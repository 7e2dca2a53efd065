"""How much grades spread within the bins of a unit, and how alike those of one document are.

The n grades of a unit have one variance s within bins, and those of one document, in whichever bins, a correlation rho. With Z (n, D)
the indicators of documents, their covariance is s R, R = (1 - rho) I + rho Z Z'. M takes the mean of its bin from each grade, so
the residuals r = M y have covariance s M R M, and with G = Z' M Z

    E[r' r]          = s ((1 - rho) tr M + rho tr G)
    E[r' Z Z' r]     = s ((1 - rho) tr G + rho tr G G)

Of a kind, rho solves both equations, summed over its units; with it the first gives s of each unit. (Moment estimators of variance
components: Searle, Casella and McCulloch, "Variance Components", 1992, chapter 5.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class _Moments(NamedTuple):
    """The sums of one unit in the equations above, and the sums of squared weights of its items and its documents."""

    unit_id: str
    kind: str
    squares: float
    of_documents: float
    trace: float
    trace_g: float
    trace_gg: float
    items: float
    documents: float


def spreads(items: pd.DataFrame, kinds: Mapping[str, str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """The spread of each unit within its bins, indexed by unit_id, and the correlation within documents of each kind.

    `items` has the columns unit_id, bin and score, and `document` unless every item is from a document of its own. The columns of the
    result are `kind`; `variance`, that of a grade, NaN if no bin has two; `freedom`, its degrees of freedom (Satterthwaite 1946);
    and `factor`, by which the variance is multiplied to give that of the mean of the unit's bins.
    """
    rows_by_unit = items.groupby("unit_id")
    moments = pd.DataFrame([_moments(str(unit), kinds, rows) for unit, rows in rows_by_unit], columns=_Moments._fields)
    moments = moments.astype(dict.fromkeys(_Moments._fields[2:], "float64"))
    correlation = {str(kind): _correlation(rows) for kind, rows in moments.groupby("kind")}
    rho = moments["kind"].map(correlation).astype("float64")
    expected = (1 - rho) * moments["trace"] + rho * moments["trace_g"]
    # tr (M R M R), so that freedom is 2 E^2 / Var of the quadratic form r' r.
    spread = (1 - rho) ** 2 * moments["trace"] + 2 * rho * (1 - rho) * moments["trace_g"] + rho**2 * moments["trace_gg"]
    known = expected > 1e-9
    table = pd.DataFrame(
        {
            "kind": moments["kind"],
            "variance": (moments["squares"] / expected.where(known)),
            "freedom": (expected**2 / spread.where(known)).fillna(0.0),
            "factor": (1 - rho) * moments["items"] + rho * moments["documents"],
        }
    )
    return table.set_index(pd.Index(moments["unit_id"], name="unit_id")), correlation


def _moments(unit_id: str, kinds: Mapping[str, str], rows: pd.DataFrame) -> _Moments:
    bin_ = np.unique(rows["bin"], return_inverse=True)[1]
    document = np.unique(rows["document"], return_inverse=True)[1] if "document" in rows else np.arange(len(rows))
    score = rows["score"].to_numpy(dtype=np.float64)
    counts = np.zeros((bin_.max() + 1, document.max() + 1))
    np.add.at(counts, (bin_, document), 1)
    n = counts.sum(axis=1)
    residual = score - (np.bincount(bin_, score) / n)[bin_]
    g = np.diag(counts.sum(axis=0)) - counts.T @ (counts / n[:, None])
    weights = counts / (n[:, None] * len(n))  # of each document in the mean of the bins
    return _Moments(
        unit_id,
        kinds[unit_id],
        squares=float((residual**2).sum()),
        of_documents=float((np.bincount(document, residual) ** 2).sum()),
        trace=float((n - 1).sum()),
        trace_g=float(np.trace(g)),
        trace_gg=float((g**2).sum()),
        items=float((1 / n).sum() / len(n) ** 2),
        documents=float((weights.sum(axis=0) ** 2).sum()),
    )


def _correlation(moments: pd.DataFrame) -> float:
    """The correlation rho of a kind, from 0 to 1; 0 if no document has two items, 1 if the equations do not determine it.

    To the solution half of its standard error is added, by the jackknife over units: an interval loses more coverage by a correlation that
    is too low than it gains by one that is too high (with 8 units of each kind, .92 without; chosen by simulation).
    """
    of_units = moments[["trace", "trace_g", "trace_gg", "squares", "of_documents"]].to_numpy().T
    if np.allclose(moments["items"], moments["documents"]):
        return 0.0
    total = of_units.sum(axis=1)
    without_one = _solution(*(total[:, None] - of_units))
    error = np.sqrt((len(moments) - 1) * without_one.var())
    return float(min(1.0, _solution(*total[:, None])[0] + error / 2))


def _solution(a: Floats, g: Floats, gg: Floats, squares: Floats, of_documents: Floats) -> Floats:
    """rho by both equations, given the sums of tr M, tr G, tr G G, r' r and r' Z Z' r over units."""
    excess, scale = of_documents * a - squares * g, squares * (gg - g) - of_documents * (g - a)
    determined = (a * gg - g * g > 1e-9 * a * gg) & (scale > 0)
    return np.where(determined, np.clip(excess / np.where(determined, scale, 1.0), 0.0, 1.0), 1.0)
