"""The difference that leads a report, and the other readings of it that stand beside it."""

from __future__ import annotations

from typing import NamedTuple

from autointerp.findings.summary import Summary
from autointerp.formatting import estimate, plural
from autointerp.stats.prediction_powered import CorrectedHeadline


class LeadingDifference(NamedTuple):
    """The difference that leads a report, with its interval, the reason for a missing one, and whether people's grades correct it."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None
    corrected: bool


def corrected_by_people(summary: Summary) -> CorrectedHeadline | None:
    """The headline corrected by people's grades, which then leads; None if nobody graded, or too little, or if it is withheld."""
    people = summary.evidence.people if summary.evidence else None
    if people is None or summary.headline.withheld or people.corrected.difference.value is None:
        return None
    return people.corrected


def leading_difference(summary: Summary) -> LeadingDifference:
    """The difference of a headline that is not withheld: as people's grades correct it, or else as the judge graded."""
    if corrected := corrected_by_people(summary):
        by_people = corrected.difference
        return LeadingDifference(by_people.value, by_people.ci_low, by_people.ci_high, by_people.why, corrected=True)
    headline = summary.headline
    return LeadingDifference(headline.difference, headline.ci_low, headline.ci_high, headline.why, corrected=False)


def leading_means(summary: Summary) -> tuple[float | None, float | None]:
    """The mean grades of features and neurons whose difference leads the report."""
    if corrected := corrected_by_people(summary):
        return corrected.features.value, corrected.neurons.value
    if summary.headline.features_mean is None and not summary.headline.n_neurons:
        return summary.controls.main.feature.mean, None
    return summary.headline.features_mean, summary.headline.neurons_mean


def alternative_differences(summary: Summary) -> list[tuple[str, str, str]]:
    """The difference at equal rarity, on another scale, by the judge alone if people's grades correct the headline, or corrected by a
    second judge, as (name, number, explanation); empty if it is withheld."""
    evidence = summary.evidence
    if summary.headline.withheld:
        return []
    alternatives = [_beside(summary)] if summary.equal_rarity else []
    if evidence is None:
        return alternatives
    scaled = evidence.normalised
    if scaled and scaled.difference is not None:
        shown = estimate(scaled.difference, scaled.ci_low, scaled.ci_high)
        alternatives.append(("normalised difference", shown, "0: another unit's explanation, 1: a true explanation"))
    if corrected_by_people(summary):
        headline = summary.headline
        by_judge = estimate(headline.difference, headline.ci_low, headline.ci_high)
        alternatives.insert(0, ("difference by the judge alone", by_judge, "before people's grades corrected it"))
    if evidence.second and (corrected := evidence.second.corrected.difference).value is not None:
        shown = estimate(corrected.value, corrected.ci_low, corrected.ci_high)
        labels = f"{plural(corrected.n_labels, 'label')} by {evidence.second.judge}"
        alternatives.append(("difference corrected by a second judge's grades", shown, labels))
    return alternatives


def _beside(summary: Summary) -> tuple[str, str, str]:
    """The difference at equal rarity, or the bin-uniform one if that at equal rarity is the headline."""
    rarity, bins = summary.equal_rarity, summary.weightings.bin_uniform
    assert rarity is not None
    if summary.headline.weighting == "equal_rarity":
        shown = estimate(bins.difference, bins.ci_low, bins.ci_high)
        return "difference with all bins equal", shown, "bins of each unit's own range of activations"
    levels = [level for level in rarity.levels if level.compared]
    meaning = (
        f"{rarity.why}" if rarity.difference is None else f"{plural(len(levels), 'level')} of equally rare activations"
    )
    return "difference at equal rarity", estimate(rarity.difference, rarity.ci_low, rarity.ci_high), meaning
