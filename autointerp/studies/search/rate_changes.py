"""Whether features fire more or less often on new text than on known text, from sums over documents.

A rate is the ratio of firings to tokens. Firings of one document go together, so the variance is that of a ratio of totals over
documents (Cochran, "Sampling Techniques", 1977, section 6.3). For the test, firings are divided by their design effect, which leaves
as many independent firings as they are worth (Rao and Scott 1992, "A simple method for the analysis of clustered binary data"); given
their sum, those on new text are binomial. A test by the normal distribution calls far too many rare features changed. p-values are
adjusted for the number of features (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from sae.studies.firing_rates import FiringSums

LEAST_DOCUMENTS = 10
"""Features that fire in fewer documents of both corpora together are not tested: the design effect of their firings is not known."""

Floats = NDArray[np.float64]


def rate_changes(known: FiringSums, new: FiringSums, *, fdr: float, confidence: float) -> pd.DataFrame:
    """A row for each feature, in order.

    Columns: `rate` with `low` and `high`, its interval; `new_rate`; `documents` in which the feature fires, of both corpora; `p`, and
    `q`, the smallest false discovery rate at which it counts as changed, NaN if it is not tested; `changed`.
    """
    rate, variance = _rates(known)
    new_rate, _ = _rates(new)
    half = stats.t.ppf(0.5 + confidence / 2, max(1, known.documents - 1)) * np.sqrt(variance)
    documents = known.documents_with + new.documents_with
    p = np.where(documents >= LEAST_DOCUMENTS, _p_values(known, new), np.nan)
    q, tested = np.full(len(rate), np.nan), ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    low, high = np.maximum(0.0, rate - half), np.minimum(1.0, rate + half)
    outside = (new_rate < low) | (new_rate > high)
    columns = {"rate": rate, "low": low, "high": high, "new_rate": new_rate, "documents": documents.astype(np.int64)}
    return pd.DataFrame({**columns, "p": p, "q": q, "changed": tested & outside & (q <= fdr)})


def _rates(sums: FiringSums) -> tuple[Floats, Floats]:
    """The rate of each feature and its variance."""
    rate = sums.firings / sums.tokens
    squares = sums.squares - 2 * rate * sums.products + rate**2 * sums.tokens_squared
    factor = sums.documents / max(1, sums.documents - 1) / sums.tokens**2
    return rate, np.maximum(0.0, squares) * factor


def _p_values(known: FiringSums, new: FiringSums) -> Floats:
    """Two-sided p-values of equal rates."""
    tokens, firings = known.tokens + new.tokens, known.firings + new.firings
    rate = firings / tokens
    squares = known.squares + new.squares - 2 * rate * (known.products + new.products)
    squares += rate**2 * (known.tokens_squared + new.tokens_squared)
    documents = known.documents + new.documents
    effect = np.maximum(1.0, squares * documents / max(1, documents - 1) / np.maximum(firings, 1e-12))
    total, share, of_new = firings / effect, new.tokens / tokens, new.firings / effect
    at_least = special.betainc(np.maximum(of_new, 1e-12), total - of_new + 1, share)
    at_most = special.betaincc(of_new + 1, np.maximum(total - of_new, 1e-12), share)
    p: Floats = np.minimum(1.0, 2 * np.minimum(at_least, at_most))
    return p
