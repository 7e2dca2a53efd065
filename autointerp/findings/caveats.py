"""Cautions: sentences that must stand beside the headline, each with its numbers. Those on the judge are its failed checks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from autointerp.findings.judge_checks import CHECKS
from autointerp.findings.summary import Summary
from autointerp.formatting import number, percent, plural

FEW_UNITS = 20
"""Below this, intervals under-cover: simulated on skewed 0-3 unit means, a 95% BCa covers .92 at 10 units and .95 at 20."""
DENSITY_RATIO = 2.0
"""Median densities of features and neurons further apart than this factor are called mismatched."""
QUIET_SHARE = 0.1
"""Larger shares of silent windows in which the unit is active somewhere are mentioned."""
UNCOUNTED_SHARE = 0.1
"""Larger shares of sampled units without a score are mentioned."""
ALWAYS_SAID = ("floor", "base_rate")
"""Checks that are cautions also where they were not measured."""
NEAR_SHARE = 0.75
"""Near ones graded this far up from misses to hits are mentioned: the judge hardly looks at the mark."""


def cautions(summary: Summary, exemplars: pd.DataFrame) -> list[str]:
    """The cautions for a summary, most important first. `exemplars` has `role` and `token_activations`."""
    parts = (_checks, _explainer, _easily_earned, _ignored_mark, _room, _few_units, _uncounted, _density)
    return [sentence for part in parts for sentence in part(summary)] + list(_quiet(exemplars))


def _checks(summary: Summary) -> Iterator[str]:
    checks = [check(summary) for check in CHECKS]
    for name in ("llm", "families", "floor", "base_rate", "planted", "noise", "people", "second", "unscored"):
        check = next(check for check in checks if check.name == name)
        if check.passed is False or (check.passed is None and name in ALWAYS_SAID):
            yield check.said


def _explainer(summary: Summary) -> Iterator[str]:
    if not summary.explainer_is_llm and summary.explainer != summary.judge:
        yield (
            f"The explainer ({summary.explainer}) is not a language model: poor explanations lower the grades of every unit."
        )


def _easily_earned(summary: Summary) -> Iterator[str]:
    main, base = summary.controls.main.all.mean, summary.controls.base_rate.all.mean
    contrast = summary.controls.main_minus_base_rate
    above = contrast.difference if contrast.ci_low is None else contrast.ci_low
    if main is None or base is None or above is None or above <= 0:
        return
    lowest = summary.rubric.grades[0]
    if base - lowest >= (main - lowest) / 2:
        yield (
            f"The base rate is high: windows in which the unit is silent are graded {number(base)} on average, against"
            f" {number(main)} where it fires, so many explanations are easily earned."
        )


def _ignored_mark(summary: Summary) -> Iterator[str]:
    planted = summary.evidence.planted if summary.evidence else None
    if planted is None or not planted.separates:
        return
    hits, near, misses = planted.hits.mean, planted.near.mean, planted.misses.mean
    if hits is None or near is None or misses is None:
        return
    if near - misses >= NEAR_SHARE * (hits - misses):
        yield (
            f"The judge hardly looks at the marked token: planted words near the mark are graded {number(near)} on average,"
            f" against {number(hits)} with the mark on them and {number(misses)} without them."
        )


def _room(summary: Summary) -> Iterator[str]:
    ends = summary.evidence.normalised if summary.evidence else None
    if ends and ends.floor is not None and ends.ceiling is not None and ends.ceiling <= ends.floor:
        yield (
            f"The planted-unit ceiling is not above the shuffled floor: planted units' true explanations earn"
            f" {number(ends.ceiling)} on average, other units' explanations {number(ends.floor)}."
        )


def _few_units(summary: Summary) -> Iterator[str]:
    for kind, counts in summary.denominator.items():
        if counts.sampled and counts.scored < FEW_UNITS:
            have = plural(counts.scored, f"{kind} has a score", f"{kind}s have a score")
            yield f"Only {have}: intervals from fewer than {FEW_UNITS} units under-cover."
    figures = summary.weightings.bin_uniform
    if figures.difference is not None and figures.ci_low is None:
        yield (
            f"The difference of {number(figures.difference, signed=True)} has no interval: too few units, or each kind's"
            " units are all graded the same."
        )


def _uncounted(summary: Summary) -> Iterator[str]:
    zeroed = summary.difference_if_unscored_units_are_zero
    for kind, counts in summary.denominator.items():
        missing = counts.sampled - counts.scored
        if counts.sampled and missing > UNCOUNTED_SHARE * counts.sampled:
            effect = (
                ""
                if zeroed is None
                else f"; with these units counted as 0 the difference is {number(zeroed, signed=True)}"
            )
            yield (
                f"{missing} of {counts.sampled} sampled {kind}s have no score ({counts.dead} dead, {counts.barely_active}"
                f" barely active, {counts.unexplained} unexplained, {counts.unscored} unscored) and are not in the means{effect}."
            )


def _density(summary: Summary) -> Iterator[str]:
    ratio = summary.density.ratio
    if ratio is not None and not 1 / DENSITY_RATIO <= ratio <= DENSITY_RATIO:
        factor, word = (ratio, "more") if ratio > 1 else (1 / ratio, "less")
        yield (
            f"Features and neurons are not matched on density: the median feature is active {factor:.3g} times {word} often"
            f" than the median neuron (on {summary.density.feature:.2g} and {summary.density.neuron:.2g} of tokens)."
        )


def _quiet(exemplars: pd.DataFrame) -> Iterator[str]:
    windows = exemplars.loc[exemplars["role"] == "quiet", "token_activations"]
    active = sum(bool(len(a)) and max(a) > 0 for a in windows)
    if active > QUIET_SHARE * len(windows):
        yield (
            f"In {percent(active / len(windows))} of the silent windows the unit is active elsewhere than at the marked token:"
            " there the explanation may rightly fit, and the base rate is overstated."
        )
