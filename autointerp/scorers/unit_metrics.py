"""The scorers' figures of every unit in a run, and their summary over features and neurons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from autointerp.ledger import judgements
from autointerp.ledger.database import Ledger
from autointerp.records import COMPARED, PLANTED, Explanation, ExplanationKey, Outcome, ScorerAnswer
from autointerp.run import Run
from autointerp.scorers import cases, registry
from autointerp.scorers.base import Scorer
from autointerp.stats import comparison, giveaways

COLUMNS = ["scorer", "unit_id", "kind", "figure", "value", "n", "n_unscored", "why"]


class UnitFigures(NamedTuple):
    """A run's figures by all scorers."""

    figures: pd.DataFrame
    """A row per scorer, unit and figure: `value` from `n` answers, or NaN and the reason `why`; `n_unscored` questions failed."""
    unscored: Mapping[str, Mapping[str, int]]
    """Failed answers by scorer and outcome."""
    shapes: pd.DataFrame
    """A row per item that the judge tells apart: `scorer`, `unit_id`, `truth`, `length` and `place` of the mark."""


def of_run(ledger: Ledger, run: Run) -> UnitFigures:
    """Compute all figures from the answers in the ledger."""
    answers: Sequence[ScorerAnswer] = ()
    explanations: Mapping[ExplanationKey, Explanation] = {}
    if run.spec.scorers:
        with ledger.read() as tx:
            explanations = judgements.explanations_of(tx, run.run_id)
            answers = judgements.answers_of(tx, run.run_id)
    known = cases.Cases(run, explanations, answers)
    rows, shapes = [], []
    for scorer, unit, scores, seen in cases.figures(known, [registry.scorer(name) for name in run.spec.scorers]):
        rows += [
            (scorer.name, unit.unit_id, unit.kind, figure, value, scores.n, scores.n_unscored, scores.reason(figure))
            for figure, value in scores.values.items()
        ]
        shapes += [(scorer.name, unit.unit_id, *shape) for shape in seen]
    figures = pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64", "why": "string"})
    return UnitFigures(figures, _unscored(answers), pd.DataFrame(shapes, columns=["scorer", *giveaways.COLUMNS]))


def per_unit(result: UnitFigures, scorer: str, figure: str) -> pd.Series[float]:
    """One figure of one scorer by unit_id; empty if the run has none."""
    rows = result.figures.loc[(result.figures["scorer"] == scorer) & (result.figures["figure"] == figure)]
    return rows.set_index("unit_id")["value"]


def summarise(result: UnitFigures, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `scorers` of `summary.json`: each scorer's facts, its answers, and each figure by kind with features minus neurons.

    `options`: confidence, resamples, seed.
    """
    summaries = []
    for name, rows in result.figures.groupby("scorer", sort=False):
        scorer = registry.scorer(str(name))
        answers = rows.drop_duplicates("unit_id")
        summaries.append(
            {
                "scorer": scorer.name,
                "source": scorer.source,
                "needs_explanation": scorer.needs_explanation,
                "chance": scorer.chance,
                "n": int(answers["n"].sum()),
                "n_unscored": int(answers["n_unscored"].sum()),
                "unscored": dict(result.unscored.get(scorer.name, {})),
                "figures": [_figure(scorer, rows, figure, options) for figure in scorer.figures],
            }
        )
    return summaries


def _unscored(answers: Iterable[ScorerAnswer]) -> dict[str, dict[str, int]]:
    """Failed answers by scorer and outcome."""
    counts: dict[str, dict[str, int]] = {}
    for row in answers:
        if row.outcome is not Outcome.SCORED:
            by_outcome = counts.setdefault(row.scorer, {})
            by_outcome[row.outcome.value] = by_outcome.get(row.outcome.value, 0) + 1
    return counts


def _figure(scorer: Scorer, rows: pd.DataFrame, figure: str, options: Mapping[str, Any]) -> dict[str, Any]:
    own = rows.loc[rows["figure"] == figure]
    of_kind = {kind: own.loc[own["kind"] == kind] for kind in (*COMPARED, PLANTED)}
    reasons = {kind: _reason(scorer, kind, mine) for kind, mine in of_kind.items()}
    means = {kind: comparison.mean_estimate(mine["value"], **options) for kind, mine in of_kind.items()}
    compared = comparison.compare(*(of_kind[kind]["value"] for kind in COMPARED), confidence=options["confidence"])
    result = {name: getattr(compared, name) for name in ("difference", "ci_low", "ci_high", "why", "p_superior")}
    if missing := [f"{kind}s: {reasons[kind]}" for kind in COMPARED if means[kind].mean is None]:
        result["why"] = "; ".join(missing)
    return result | {
        "figure": figure,
        "meaning": scorer.figures[figure],
        "undefined": int(own["value"].isna().sum()),
        "undefined_why": {str(why): int(n) for why, n in own["why"].value_counts().sort_index().items()},
        **{k: m.model_dump() | ({"why": reasons[k]} if m.mean is None else {}) for k, m in means.items()},
    }


def _reason(scorer: Scorer, kind: str, rows: pd.DataFrame) -> str:
    """Why a figure has no value for any unit of a kind."""
    if len(rows):
        return "; ".join(sorted(set(rows["why"].dropna())))
    if kind == PLANTED and "run" in scorer.steps:
        return "planted units are not in the subject"
    return f"no {kind} {'unit' if kind == PLANTED else ''}".rstrip() + " was evaluated"
