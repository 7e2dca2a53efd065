"""Has explanations checked by the judge, and writes the propagated labels of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.index import labels
from autointerp.explorer.index.schema import PROPAGATED
from autointerp.explorer.label_all.known_labels import Known
from autointerp.explorer.label_all.outcome import Outcome
from autointerp.explorer.labels.fits import fits
from autointerp.explorer.labels.labeller import Labeller
from autointerp.explorer.propagation import checks, curve
from autointerp.explorer.propagation.checks import Flags
from autointerp.explorer.propagation.curve import Checked
from autointerp.explorer.propagation.decisions import Decisions
from autointerp.explorer.propagation.evidence import Comparison, Evidence, Rows
from autointerp.progress import Progress


def propagate(
    checker: Labeller, evidence: Evidence, known: Known, before: Outcome, least: float | None, progress: Progress
) -> Outcome:
    """Fit the probabilities, replace the propagated labels of the index, and return the outcome with them.

    `checker` asks the judge. Without `least`, the probability from which on `curve.PRECISION` of the explanations are expected to be right.
    Raises as `fits`.
    """
    if not len(known.rows):
        raise UsageError("no feature has an explanation to propagate: give a larger --units or --share")

    def ask(units: Rows, sources: NDArray[np.int64]) -> tuple[Flags, Flags]:
        pairs = [(unit, known.texts[source]) for unit, source in zip(units.tolist(), sources.tolist(), strict=True)]
        found = fits(checker, pairs, progress.update)
        return np.array([found.get(pair, False) for pair in pairs], bool), np.array([p in found for p in pairs], bool)

    comparison = Comparison(evidence, known.rows)
    by_chance = known.of_run | np.isin(known.rows, before.by_chance)
    propagation, rest, decided = checks.fit(comparison, by_chance, ask, progress.update)
    probability = decided.probability
    chosen = curve.least_probability(probability) if least is None else least
    kept = np.flatnonzero((probability > 0) & (probability >= (np.inf if chosen is None else chosen)))
    sample = np.random.default_rng(0).permutation(kept)[: checks.SAMPLE]
    right, answered = ask(rest[sample], decided.source[sample])
    made = _rows(rest[kept], Decisions(decided.source[kept], probability[kept]), known)
    labels.put(checker.index, made, lambda table: pc.equal(table["source"], PROPAGATED))
    points = curve.points(probability, propagation, chosen)
    return before.model_copy(
        update={
            "least_probability": chosen,
            "point": next((point for point in points if point.probability == chosen), None),
            "sample": Checked.of(right[answered]),
            "curve": points,
        }
    )


def _rows(units: Rows, decided: Decisions, known: Known) -> Sequence[dict[str, Any]]:
    """Propagated explanations as rows of `labels.parquet`."""
    columns = zip(units.tolist(), decided.source.tolist(), decided.probability.tolist(), strict=True)
    return [
        {
            "row": row,
            "explanation": known.texts[source],
            "source": PROPAGATED,
            "judge": "",
            "probability": probability,
            "from_row": int(known.rows[source]),
        }
        for row, source, probability in columns
    ]
