"""A run's `summary.json`: headline or the reason why there is none, denominators, bins, controls, cautions and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autointerp.findings import judge_verdict
from autointerp.findings.caveats import cautions
from autointerp.findings.headline import _difference, _headline, headline_bounds, reasons_to_withhold, withheld_reasons
from autointerp.findings.json_values import _finite, _plain
from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.spec import Spec
from autointerp.stats import comparison, rounding
from autointerp.stats.comparison import options

SCHEMA_VERSION = 1
FACTS = (
    *("run_id", "created_at", "finished_at", "served_models", "rubric", "subject", "dictionary", "hook_point"),
    *("neuron_hook_point", "corpus", "cost_usd", "cost_unknown_calls", "tokens", "calls", "wall_s", "stage_s"),
    *("harvest", "versions", "command", "lost_calls", "lost_usd_at_most", "failed_attempts", "check", "studies"),
)
"""What only the run knows: `summarise` passes these through. `rubric` must hold `levels: [{grade, text}]`."""
_IDENTITY = ("name", "judge", "judge_is_llm", "explainer", "explainer_is_llm", "seed")
"""Taken from the spec unless the facts say otherwise: a run may be given a judge that no spec can name."""


def summarise(
    *,
    units: pd.DataFrame,
    judgements: pd.DataFrame,
    exemplars: pd.DataFrame,
    spec: Spec,
    rubric_levels: Sequence[int],
    facts: Mapping[str, Any],
    evidence: Mapping[str, Any] | None = None,
    scorers: Sequence[Mapping[str, Any]] = (),
    variants: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All of `summary.json`, as plain JSON values without NaN.

    `units` needs unit_id, kind, status, density, explanation and `bin_events` (counted tokens in each bin of (0, max]);
    `judgements` and `exemplars` the columns of their parquet files. `rubric_levels` are the rubric's grades. Everything
    sampled stays in the denominators. A withheld headline keeps its counts and has null figures; `weightings` keeps the
    figures. Raises ValueError when the tables or facts contradict each other.
    """
    _check(units, judgements, rubric_levels, spec, facts)
    # Sums of floats depend on their order in the last bit: figures must not depend on the order of rows.
    units = units.loc[units["kind"].isin(COMPARED)].sort_values("unit_id", ignore_index=True)
    judgements = judgements.loc[judgements["kind"].isin(COMPARED) & (judgements["arm"] != Arm.VARIANT.value)]
    how = options(spec)
    scores = comparison.unit_scores(judgements, units)
    denominator = {kind: _denominator(units, scores, kind) for kind in COMPARED}
    weightings = {
        name: comparison.compare(*_by_kind(scores, column), **how)._asdict()
        for name, column in (("bin_uniform", "mean_score"), ("frequency", "mean_score_frequency"))
    }
    unscored = judgements.loc[judgements["outcome"] != Outcome.SCORED.value, "outcome"].value_counts()
    share = int(unscored.sum()) / len(judgements) if len(judgements) else 0.0
    shares = {kind: _main_unscored_share(scores, kind) for kind in COMPARED}
    reasons = withheld_reasons(denominator, share, shares, spec)
    reasons += reasons_to_withhold(evidence) if evidence else []
    zeroed = scores["mean_score"].fillna(min(rubric_levels))
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "spec_hash": spec.hash(),
        "judge": spec.judge.model,
        "judge_is_llm": spec.judge.model != "embedded",
        "explainer": spec.explained_by.model,
        "explainer_is_llm": spec.explained_by.model != "embedded",
        "seed": spec.units.seed,
        **facts,
        "headline": _headline(weightings["bin_uniform"], denominator, reasons),
        "headline_bounds": headline_bounds(units, judgements, rubric_levels),
        "difference_if_unscored_units_are_zero": _difference(zeroed, scores["kind"]),
        "weightings": weightings,
        "denominator": denominator,
        "density": _density(units, scores),
        "bins": comparison.bin_table(judgements, units, bins=spec.harvest.bins, grades=sorted(rubric_levels), **how),
        "unscored": {str(reason): int(n) for reason, n in sorted(unscored.items())},
        "unscored_share": share,
        "main_unscored_share": shares,
        "controls": _controls(judgements, scores, how),
        "evidence": evidence,
        "scorers": list(scorers),
        "variants": dict(variants or {}),
    }
    if summary["studies"] is not None:
        studied = summary["studies"]["rounding"]
        graded = rounding.specificity(judgements, exemplars, units, studied["shares"], bins=spec.harvest.bins, **how)
        summary["studies"] = summary["studies"] | {"rounding": studied | {"specificity": graded}}
    summary["belief"] = judge_verdict.of(summary)
    summary["cautions"] = cautions(summary, exemplars)
    plain: dict[str, Any] = _plain(summary)
    return plain


def _check(
    units: pd.DataFrame, judgements: pd.DataFrame, levels: Sequence[int], spec: Spec, facts: Mapping[str, Any]
) -> None:
    missing, unknown = set(FACTS) - set(facts), set(facts) - {*FACTS, *_IDENTITY}
    if missing or unknown:
        raise ValueError(f"facts of the run: missing {sorted(missing)}, unknown {sorted(unknown)}: see summary.FACTS")
    shown = {level["grade"] for level in facts["rubric"]["levels"]}
    if shown != set(levels):
        raise ValueError(f"facts of the run: rubric shows grades {sorted(shown)} where it has {sorted(levels)}")
    strangers = set(judgements["unit_id"]) - set(units["unit_id"])
    if strangers:
        raise ValueError(f"judgements name {len(strangers)} units that were not sampled, such as {min(strangers)}")
    off_scale = set(judgements["score"].dropna().astype(int)) - set(levels)
    if off_scale:
        raise ValueError(f"judgements hold grades {sorted(off_scale)} that the rubric lacks: it has {sorted(levels)}")
    comparison.event_counts(units, spec.harvest.bins)


def _denominator(units: pd.DataFrame, scores: pd.DataFrame, kind: str) -> dict[str, int]:
    """Every sampled unit of the kind in exactly one class."""
    chosen = units.loc[units["kind"] == kind]
    scored = scores.loc[chosen["unit_id"], "mean_score"].notna().to_numpy()
    status = chosen["status"].to_numpy()
    idle = (status == "dead") | (status == "barely_active")
    explained = (chosen["explanation"].notna() & (chosen["explanation"] != "")).to_numpy(dtype=bool)
    return {
        "sampled": len(chosen),
        "dead": int((~scored & (status == "dead")).sum()),
        "barely_active": int((~scored & (status == "barely_active")).sum()),
        "unexplained": int((~scored & ~idle & ~explained).sum()),
        "unscored": int((~scored & ~idle & explained).sum()),
        "scored": int(scored.sum()),
    }


def _controls(judgements: pd.DataFrame, scores: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, Any]:
    columns = {Arm.MAIN: "mean_score", Arm.SHUFFLED: "shuffled_mean", Arm.BASE_RATE: "base_rate_mean"}
    result: dict[str, Any] = {}
    for arm, column in columns.items():
        rows = judgements.loc[judgements["arm"] == arm.value]
        result[arm.value] = {}
        for group in (*COMPARED, "all"):
            kinds = COMPARED if group == "all" else (group,)
            estimate = comparison.mean_estimate(scores.loc[scores["kind"].isin(kinds), column], **options)
            graded = rows.loc[rows["kind"].isin(kinds), "score"].notna()
            result[arm.value][group] = {
                **{"mean": estimate.mean, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high},
                **{"n": int(graded.sum()), "n_unscored": int((~graded).sum()), "n_units": estimate.n},
            }
    for arm in (Arm.SHUFFLED, Arm.BASE_RATE):
        estimate = comparison.mean_estimate(comparison.paired_differences(judgements, arm), **options)
        result[f"main_minus_{arm.value}"] = {
            **{"difference": estimate.mean, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high},
            "n_units": estimate.n,
        }
    return result


def _density(units: pd.DataFrame, scores: pd.DataFrame) -> dict[str, float | None]:
    """Median share of counted tokens at which a scored unit is active, and features' over neurons'."""
    scored = units.loc[scores["mean_score"].notna().to_numpy()]
    medians = {k: _finite(scored.loc[scored["kind"] == k, "density"].median()) for k in COMPARED}
    feature, neuron = medians["feature"], medians["neuron"]
    return {**medians, "ratio": feature / neuron if feature is not None and neuron else None}


def _main_unscored_share(scores: pd.DataFrame, kind: str) -> float | None:
    counts = scores.loc[scores["kind"] == kind, ["n_scored", "n_unscored"]].sum()
    total = int(counts.sum())
    return int(counts["n_unscored"]) / total if total else None


def _by_kind(scores: pd.DataFrame, column: str) -> tuple[pd.Series[float], pd.Series[float]]:
    return scores.loc[scores["kind"] == "feature", column], scores.loc[scores["kind"] == "neuron", column]
