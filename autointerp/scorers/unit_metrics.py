"""What the other scorers found: a figure a unit, and features against neurons by each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.records import COMPARED, Answered, Explanation, ExplanationKey, Outcome
from autointerp.run import Run
from autointerp.scorers import cases, registry
from autointerp.stats import comparison

COLUMNS = ["scorer", "unit_id", "kind", "figure", "value", "n", "n_unscored"]


class Evaluated(NamedTuple):
    """All that other scorers found in a run.

    `figures` has a row a scorer, unit and figure; `value` is NaN where the figure is undefined. `n` answers rest behind it,
    `n_unscored` failed. `unscored` counts by scorer the answers that failed, by outcome.
    """

    figures: pd.DataFrame
    unscored: Mapping[str, Mapping[str, int]]


def of_run(ledger: Ledger, run: Run) -> Evaluated:
    """What the ledger's answers come to."""
    answers: Sequence[Answered] = ()
    said: Mapping[ExplanationKey, Explanation] = {}
    if run.spec.score.also:
        with ledger.read() as tx:
            said, answers = judgements.explanations_of(tx, run.run_id), judgements.answers_of(tx, run.run_id)
    known = cases.Cases(run, said, answers)
    rows = [
        (scorer.name, unit.unit_id, unit.kind, figure, value, scores.n, scores.n_unscored)
        for scorer, unit, scores in cases.figures(known, [registry.scorer(name) for name in run.spec.score.also])
        for figure, value in scores.values.items()
    ]
    figures = pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64"})
    return Evaluated(figures, _unscored(answers))


def summarise(evaluated: Evaluated, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each scorer what it is, its answers, and each figure for features, neurons and planted units, and the difference.

    `options`: confidence, resamples, seed.
    """
    found = []
    for name, rows in evaluated.figures.groupby("scorer", sort=False):
        scorer = registry.scorer(str(name))
        answers = rows.drop_duplicates("unit_id")
        found.append(
            {
                "scorer": scorer.name,
                "source": scorer.source,
                "needs_explanation": scorer.needs_explanation,
                "chance": scorer.chance,
                "n": int(answers["n"].sum()),
                "n_unscored": int(answers["n_unscored"].sum()),
                "unscored": dict(evaluated.unscored.get(scorer.name, {})),
                "figures": [_figure(rows, figure, meaning, options) for figure, meaning in scorer.figures.items()],
            }
        )
    return found


def _unscored(answers: Iterable[Answered]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in answers:
        if row.outcome is not Outcome.SCORED:
            by_outcome = found.setdefault(row.scorer, {})
            by_outcome[row.outcome.value] = by_outcome.get(row.outcome.value, 0) + 1
    return found


def _figure(rows: pd.DataFrame, figure: str, meaning: str, options: Mapping[str, Any]) -> dict[str, Any]:
    mine = rows.loc[rows["figure"] == figure]
    values = {kind: mine.loc[mine["kind"] == kind, "value"] for kind in (*COMPARED, "planted")}
    compared = comparison.compare(values["feature"], values["neuron"], **options)
    return {
        "figure": figure,
        "meaning": meaning,
        "undefined": int(mine["value"].isna().sum()),
        **{kind: comparison.mean_estimate(v, **options).model_dump() for kind, v in values.items()},
        **{name: getattr(compared, name) for name in ("difference", "ci_low", "ci_high", "p_superior")},
    }
