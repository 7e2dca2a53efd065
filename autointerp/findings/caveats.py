"""Cautions: sentences that a reader must have beside the headline, each with the numbers that gave rise to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

FEW_UNITS = 20
"""Below this, intervals under-cover: simulated on skewed 0-3 unit means, a 95% BCa covers .92 at 10 units and .95 at 20."""
DENSITY_RATIO = 2.0
"""Median densities of features and neurons further apart than this factor are called mismatched."""
QUIET_SHARE = 0.1
"""Larger shares of quiet windows in which the unit is active somewhere are mentioned."""
UNCOUNTED_SHARE = 0.1
"""Larger shares of sampled units without a score are mentioned."""
EVIDENCE = ("planted", "noise", "people", "second")
"""Failed checks of the judge that are cautions as they stand; the others have their own words here."""
NEAR_SHARE = 0.75
"""Near ones graded this far up from misses to hits are mentioned: the judge hardly looks at the mark."""


def cautions(summary: Mapping[str, Any], exemplars: pd.DataFrame) -> list[str]:
    """The cautions that a finished summary calls for, most important first.

    `summary` is `summarise`'s dict before its `cautions`; `exemplars` has `role` and `token_activations`.
    """
    parts = (_judge, _controls, _evidence, _room, _few_units, _uncounted, _bounds, _density)
    return [sentence for part in parts for sentence in part(summary)] + list(_quiet(exemplars))


def _judge(summary: Mapping[str, Any]) -> Iterator[str]:
    judge, explainer = summary["judge"], summary["explainer"]
    if not summary["judge_is_llm"]:
        yield f"The judge ({judge}) is not a language model: its grades are a baseline's, not comparable with an LLM's."
    if not summary["explainer_is_llm"] and explainer != judge:
        yield f"The explainer ({explainer}) is not a language model: poor explanations lower the grades of every unit."
    if judge == explainer:
        yield f"The same model ({judge}) explains and judges: it may prefer its own explanations."


def _controls(summary: Mapping[str, Any]) -> Iterator[str]:
    controls = summary["controls"]
    floor, base = controls["main_minus_shuffled"], controls["main_minus_base_rate"]
    if not floor["n_units"]:
        yield "No unit has a shuffled control: nothing here shows that the judge reads the explanations."
    elif _not_above_zero(floor):
        yield (
            "The judge cannot tell a unit's own explanation from another unit's: main minus shuffled is"
            f" {_estimate(floor)} over {_count(floor['n_units'], 'unit')}."
        )
    if not base["n_units"]:
        yield "No unit has a base-rate control: explanations that fit any text would not be noticed."
    elif _not_above_zero(base):
        yield (
            "Explanations are graded no better where the unit fires than where it is silent: main minus base rate is"
            f" {_estimate(base)} over {_count(base['n_units'], 'unit')}."
        )
    else:
        main_mean, base_mean = controls["main"]["all"]["mean"], controls["base_rate"]["all"]["mean"]
        lowest = min(level["grade"] for level in summary["rubric"]["levels"])
        if base_mean - lowest >= (main_mean - lowest) / 2:
            yield (
                f"The base rate is high: windows in which the unit is silent are graded {base_mean:.2f} on average,"
                f" against {main_mean:.2f} where it fires, so many explanations are easily earned."
            )


def _evidence(summary: Mapping[str, Any]) -> Iterator[str]:
    for check in (summary.get("belief") or {}).get("checks", ()):
        if check["name"] in EVIDENCE and check["passed"] is False:
            yield check["said"]
    found = (summary.get("evidence") or {}).get("planted")
    if (
        found
        and found["separates"]
        and None not in (found["hits"]["mean"], found["near"]["mean"], found["misses"]["mean"])
    ):
        hits, near, misses = (found[name]["mean"] for name in ("hits", "near", "misses"))
        if near - misses >= NEAR_SHARE * (hits - misses):
            yield (
                f"The judge hardly looks at the marked token: planted words near the mark are graded {near:.2f} on average,"
                f" against {hits:.2f} with the mark on them and {misses:.2f} without them."
            )


def _room(summary: Mapping[str, Any]) -> Iterator[str]:
    found = (summary.get("evidence") or {}).get("normalised")
    if found and found["floor"] is not None and found["ceiling"] <= found["floor"]:
        yield (
            f"There is no room between floor and ceiling: planted units' true explanations earn {found['ceiling']:.2f} on average,"
            f" other units' explanations {found['floor']:.2f}."
        )


def _few_units(summary: Mapping[str, Any]) -> Iterator[str]:
    for kind, counts in summary["denominator"].items():
        if counts["sampled"] and counts["scored"] < FEW_UNITS:
            have = _count(counts["scored"], f"{kind} has a score", f"{kind}s have a score")
            yield f"Only {have}: intervals from fewer than {FEW_UNITS} units under-cover."
    figures = summary["weightings"]["bin_uniform"]
    if figures["difference"] is not None and figures["ci_low"] is None:
        yield (
            f"The difference of {figures['difference']:+.2f} has no interval: too few units, or each kind's units are"
            " all graded the same."
        )


def _uncounted(summary: Mapping[str, Any]) -> Iterator[str]:
    zeroed = summary["difference_if_unscored_units_are_zero"]
    for kind, counts in summary["denominator"].items():
        missing = counts["sampled"] - counts["scored"]
        if counts["sampled"] and missing > UNCOUNTED_SHARE * counts["sampled"]:
            effect = "" if zeroed is None else f"; with such units counted as 0 the difference is {zeroed:+.2f}"
            yield (
                f"{missing} of {counts['sampled']} sampled {kind}s have no score ({counts['dead']} dead,"
                f" {counts['barely_active']} barely active, {counts['unexplained']} unexplained,"
                f" {counts['unscored']} unscored) and are not in the means{effect}."
            )


def _bounds(summary: Mapping[str, Any]) -> Iterator[str]:
    figures, bounds = summary["weightings"]["bin_uniform"], summary["headline_bounds"]
    low, high = figures["ci_low"], figures["ci_high"]
    if low is not None and low * high > 0 and bounds["low"] * bounds["high"] <= 0:
        yield (
            "What is unscored could undo the difference: if all of it had gone one way or the other, the difference"
            f" would lie between {bounds['low']:+.2f} and {bounds['high']:+.2f}."
        )


def _density(summary: Mapping[str, Any]) -> Iterator[str]:
    density = summary["density"]
    ratio = density["ratio"]
    if ratio is not None and not 1 / DENSITY_RATIO <= ratio <= DENSITY_RATIO:
        factor, word = (ratio, "more") if ratio > 1 else (1 / ratio, "less")
        yield (
            f"Features and neurons are not matched on density: the median feature is active {factor:.3g} times {word} often"
            f" than the median neuron (on {density['feature']:.2g} and {density['neuron']:.2g} of tokens)."
        )


def _quiet(exemplars: pd.DataFrame) -> Iterator[str]:
    windows = exemplars.loc[exemplars["role"] == "quiet", "token_activations"]
    active = sum(bool(len(a)) and max(a) > 0 for a in windows)
    if active > QUIET_SHARE * len(windows):
        yield (
            f"In {active / len(windows):.0%} of the silent windows the unit is active elsewhere than at the marked token:"
            " there the explanation may rightly fit, and the base rate is overstated."
        )


def _not_above_zero(contrast: Mapping[str, Any]) -> bool:
    low = contrast["ci_low"]
    return bool(contrast["difference"] <= 0 if low is None else low <= 0)


def _estimate(contrast: Mapping[str, Any]) -> str:
    if contrast["ci_low"] is None:
        return f"{contrast['difference']:+.2f}"
    return f"{contrast['difference']:+.2f} [{contrast['ci_low']:+.2f}, {contrast['ci_high']:+.2f}]"


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one}" if n == 1 else f"{n} {many or one + 's'}"
