"""Computes a run's summary from its tables: headline, denominators, bins, controls, the judge's checks, caveats and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autointerp.findings import absences, judge_verdict, readings, unit_sides
from autointerp.findings.caveats import caveats
from autointerp.findings.evidence import Evidence
from autointerp.findings.headline import difference_with, headline_bounds, headline_of, judge_reasons, withheld_reasons
from autointerp.findings.results import (
    BinDifference,
    ControlArm,
    ControlMean,
    Controls,
    Denominator,
    Densities,
    Distinction,
    Giveaway,
    Told,
    Weightings,
)
from autointerp.findings.sanity_checks import Measurements
from autointerp.findings.summary import SCHEMA_VERSION, GradedSetFindings, Summary
from autointerp.json_values import finite, plain
from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.providers import judge_facts
from autointerp.spec.spec import Spec
from autointerp.stats import comparison, frequency, means, rarity, rounding
from autointerp.stats.bin_uniform import Grades
from autointerp.stats.comparison import Comparison, interval_options
from autointerp.stats.distinction import mean_told
from autointerp.stats.estimates import PairedDifference
from autointerp.stats.means import Scale

FACTS = (
    *("run_id", "created_at", "finished_at", "served_models", "rubric", "subject", "dictionary", "hook_point"),
    *("neuron_hook_point", "corpus", "cost_usd", "cost_unknown_calls", "tokens", "calls", "wall_s", "stage_s"),
    *("harvest", "versions", "command", "lost_calls", "lost_usd_at_most", "failed_attempts", "check", "studies"),
)
"""Facts of the run that enter the summary unchanged. `rubric` must hold `levels: [{grade, text}]`."""
_IDENTITY = ("name", "judge", "judge_is_llm", "explainer", "explainer_is_llm", "seed")
"""Facts that are taken from the spec if they are not given: tests give a run a judge that no spec can name."""


def summarise(
    *,
    units: pd.DataFrame,
    judgements: pd.DataFrame,
    exemplars: pd.DataFrame,
    spec: Spec,
    rubric_levels: Sequence[int],
    facts: Mapping[str, Any],
    evidence: Evidence | None = None,
    scorers: Sequence[Mapping[str, Any]] = (),
    giveaways: Sequence[Giveaway] = (),
    variants: Mapping[str, Any] | None = None,
    graded_set: GradedSetFindings | None = None,
) -> Summary:
    """The summary of a run.

    `units` needs unit_id, kind, status, density, explanation and `bin_events` (counted tokens in each bin of (0, max]);
    `judgements` and `exemplars` need the columns of their parquet files. `rubric_levels` are the rubric's grades. All sampled
    units stay in the denominators. A withheld headline keeps only its counts; `weightings` keeps its statistics. Raises ValueError
    if the tables or facts contradict each other.
    """
    _check_consistency(units, judgements, rubric_levels, spec, facts)
    # Sums of floats depend on their order in the last bit, and results must not depend on the order of rows.
    units = units.loc[units["kind"].isin(COMPARED)].sort_values("unit_id", ignore_index=True)
    judgements = judgements.loc[judgements["kind"].isin(COMPARED) & (judgements["arm"] != Arm.VARIANT.value)]
    intervals = interval_options(spec)
    scores = comparison.unit_scores(judgements, units)
    scores["mean_score_frequency"] = frequency.estimates(judgements, units, exemplars)
    denominator = {kind: _denominator(units, scores, kind) for kind in COMPARED}
    scale = (float(min(rubric_levels)), float(max(rubric_levels)))
    n_tokens = int(facts["corpus"]["n_counted"])
    read = readings.readings(units, exemplars, spec, n_tokens)[spec.report.headline]
    weightings = _weightings(
        comparison.bin_grades(judgements, units, spec.harvest.bins), scores, spec.report.confidence, scale
    )
    at_equal_rarity = readings.equal_rarity(
        rarity.grades(judgements, units, exemplars, n_tokens), n_tokens, confidence=spec.report.confidence, scale=scale
    )
    grades = read(judgements)
    by_name = {"bin_uniform": weightings.bin_uniform, "frequency": weightings.frequency}
    unscored = judgements.loc[judgements["outcome"] != Outcome.SCORED.value, "outcome"].value_counts()
    share = int(unscored.sum()) / len(judgements) if len(judgements) else 0.0
    shares = {kind: _main_unscored_share(scores, kind) for kind in COMPARED}
    reasons = withheld_reasons(denominator, grades, share, shares, spec)
    controls = _controls(judgements, scores, intervals, scale, neighbours=bool(spec.controls.neighbours))
    told = _distinction(units, scorers, spec.report.confidence)
    reasons += judge_reasons(Measurements(controls, evidence, told))
    ungraded = units.loc[scores["mean_score"].isna().to_numpy()]
    studies = facts["studies"]
    if studies is not None:
        rounded = studies["rounding"]
        graded = rounding.specificity(
            judgements, exemplars, units, rounded["shares"], bins=spec.harvest.bins, scale=scale, **intervals
        )
        studies = studies | {"rounding": rounded | {"specificity": graded}}
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "spec_hash": spec.hash(),
        **judge_facts(spec.judge.model, spec.explained_by.model),
        "seed": spec.units.seed,
        **facts,
        "studies": studies,
        "two_sided": unit_sides.of_units(units, scores["mean_score"], intervals, scale),
        "headline": headline_of(
            by_name.get(spec.report.headline, at_equal_rarity), spec.report.headline, grades, denominator, reasons
        ),
        "headline_bounds": headline_bounds(units, judgements, rubric_levels, grades, read),
        "difference_if_unscored_units_are_zero": difference_with(
            grades, ungraded, dict.fromkeys(COMPARED, min(rubric_levels))
        ),
        "weightings": weightings,
        "equal_rarity": at_equal_rarity,
        "denominator": denominator,
        "density": _density(units, scores),
        "bins": comparison.bin_table(
            judgements, units, bins=spec.harvest.bins, grades=sorted(rubric_levels), **intervals
        ),
        "unscored": {str(reason): int(n) for reason, n in sorted(unscored.items())},
        "unscored_share": share,
        "main_unscored_share": shares,
        "controls": controls,
        **({"distinction": told} if told else {}),
        **({"graded_set": graded_set} if graded_set else {}),
        "evidence": evidence,
        "scorers": list(scorers),
        "giveaways": list(giveaways),
        "variants": dict(variants or {}),
    }
    summary = absences.explained(Summary.model_validate(plain(values)))
    summary = summary.model_copy(update={"belief": judge_verdict.of(summary)})
    return summary.model_copy(update={"cautions": caveats(summary, exemplars)})


def _check_consistency(
    units: pd.DataFrame, judgements: pd.DataFrame, levels: Sequence[int], spec: Spec, facts: Mapping[str, Any]
) -> None:
    missing, unknown = set(FACTS) - set(facts), set(facts) - {*FACTS, *_IDENTITY}
    if missing or unknown:
        raise ValueError(f"facts of the run: missing {sorted(missing)}, unknown {sorted(unknown)}: see summarise.FACTS")
    described = {level["grade"] for level in facts["rubric"]["levels"]}
    if described != set(levels):
        raise ValueError(f"facts of the run: rubric describes grades {sorted(described)}, but has {sorted(levels)}")
    not_sampled = set(judgements["unit_id"]) - set(units["unit_id"])
    if not_sampled:
        raise ValueError(f"judgements name {len(not_sampled)} units that were not sampled, such as {min(not_sampled)}")
    off_scale = set(judgements["score"].dropna().astype(int)) - set(levels)
    if off_scale:
        raise ValueError(f"judgements have grades {sorted(off_scale)} that the rubric lacks: it has {sorted(levels)}")
    comparison.event_counts(units, spec.harvest.bins)


def _denominator(units: pd.DataFrame, scores: pd.DataFrame, kind: str) -> Denominator:
    """The classes of the sampled units of a kind."""
    chosen = units.loc[units["kind"] == kind]
    scored = scores.loc[chosen["unit_id"], "mean_score"].notna().to_numpy()
    status = chosen["status"].to_numpy()
    idle = (status == "dead") | (status == "barely_active")
    explained = (chosen["explanation"].notna() & (chosen["explanation"] != "")).to_numpy(dtype=bool)
    return Denominator(
        sampled=len(chosen),
        dead=int((~scored & (status == "dead")).sum()),
        barely_active=int((~scored & (status == "barely_active")).sum()),
        unexplained=int((~scored & ~idle & ~explained).sum()),
        unscored=int((~scored & ~idle & explained).sum()),
        scored=int(scored.sum()),
    )


def _weightings(grades: Grades, scores: pd.DataFrame, confidence: float, scale: Scale) -> Weightings:
    """Features compared with neurons over all compared bins, by their events, and bin by bin."""

    def among(bins: Sequence[int]) -> Comparison:
        return comparison.compare_bins(grades.only(bins), confidence=confidence, scale=scale)

    by_bin = {b: among([b]) for b in sorted((*grades.compared, *grades.left_out))}
    by_events = (scores.loc[scores["kind"] == kind, "mean_score_frequency"] for kind in COMPARED)
    return Weightings(
        bin_uniform=among(grades.compared),
        frequency=comparison.compare(*by_events, confidence=confidence, scale=scale),
        top_bin=by_bin[grades.compared[-1]] if grades.compared else None,
        bins=[
            BinDifference(
                **found.model_dump(include={"difference", "ci_low", "ci_high", "why"}),
                bin=b,
                n_features=int(grades.table["feature"][b].notna().sum()),
                n_neurons=int(grades.table["neuron"][b].notna().sum()),
                compared=b in grades.compared,
            )
            for b, found in by_bin.items()
        ],
    )


def _distinction(units: pd.DataFrame, scorers: Sequence[Mapping[str, Any]], confidence: float) -> Distinction | None:
    """How far explanations tell units from their neighbours; None if the run has no unit with windows of neighbours."""
    scorer = next((scorer for scorer in scorers if scorer["scorer"] == "distinction"), None)
    if scorer is None or "distinction" not in units:
        return None
    figure = next(figure for figure in scorer["figures"] if figure["figure"] == "told")

    def told(kind: str) -> Told:
        explained = units.loc[(units["kind"] == kind) & units["explanation"].notna()]
        found = mean_told(explained["distinction"], confidence=confidence)
        return Told(
            value=found.value,
            ci_low=found.low,
            ci_high=found.high,
            why=figure[kind]["why"] if found.value is None else found.why,
            chance=scorer["chance"],
            n_units=found.n,
            n_undefined=len(explained) - found.n,
        )

    return Distinction(feature=told("feature"), neuron=told("neuron"))


def _controls(
    judgements: pd.DataFrame, scores: pd.DataFrame, intervals: Mapping[str, Any], scale: Scale, *, neighbours: bool
) -> Controls:
    def mean(arm: Arm, column: str, kinds: Sequence[str]) -> ControlMean:
        rows = judgements.loc[(judgements["arm"] == arm.value) & judgements["kind"].isin(kinds)]
        values, why = scores.loc[scores["kind"].isin(kinds), column], comparison.ungraded(len(rows))
        estimate = comparison.mean_estimate(values, scale=scale, **intervals, empty=why)
        graded = rows["score"].notna()
        return ControlMean(
            **estimate.model_dump(exclude={"n"}),
            n=int(graded.sum()),
            n_unscored=int((~graded).sum()),
            n_units=estimate.n,
        )

    def arm(arm: Arm, column: str) -> ControlArm:
        return ControlArm(
            feature=mean(arm, column, ["feature"]),
            neuron=mean(arm, column, ["neuron"]),
            all=mean(arm, column, COMPARED),
        )

    def main_minus(arm: Arm) -> PairedDifference:
        differences, why = comparison.paired_differences(judgements, arm), "no unit has a grade in both arms"
        estimate = comparison.mean_estimate(differences, scale=means.of_differences(scale), **intervals, empty=why)
        return PairedDifference(
            difference=estimate.mean,
            ci_low=estimate.ci_low,
            ci_high=estimate.ci_high,
            why=estimate.why,
            n_units=estimate.n,
        )

    beside: dict[str, Any] = {}
    if neighbours:
        scores = scores.assign(neighbour_mean=comparison.arm_means(judgements, Arm.NEIGHBOUR))
        beside = {"neighbour": arm(Arm.NEIGHBOUR, "neighbour_mean"), "main_minus_neighbour": main_minus(Arm.NEIGHBOUR)}
    return Controls(
        main=arm(Arm.MAIN, "mean_score"),
        shuffled=arm(Arm.SHUFFLED, "shuffled_mean"),
        base_rate=arm(Arm.BASE_RATE, "base_rate_mean"),
        main_minus_shuffled=main_minus(Arm.SHUFFLED),
        main_minus_base_rate=main_minus(Arm.BASE_RATE),
        **beside,
    )


def _density(units: pd.DataFrame, scores: pd.DataFrame) -> Densities:
    """Median share of counted tokens at which a scored unit is active, and the ratio of features to neurons."""
    scored = units.loc[scores["mean_score"].notna().to_numpy()]
    feature, neuron = (finite(scored.loc[scored["kind"] == kind, "density"].median()) for kind in COMPARED)
    return Densities(feature=feature, neuron=neuron, ratio=feature / neuron if feature is not None and neuron else None)


def _main_unscored_share(scores: pd.DataFrame, kind: str) -> float | None:
    counts = scores.loc[scores["kind"] == kind, ["n_scored", "n_unscored"]].sum()
    total = int(counts.sum())
    return int(counts["n_unscored"]) / total if total else None
