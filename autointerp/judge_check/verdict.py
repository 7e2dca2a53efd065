"""How a run's judge did on a graded set: the findings of `autointerp judges check`, and their verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from autointerp.findings.judge_checks import LEAST_KAPPA, MOST_UNSCORED
from autointerp.findings.summary import GradedSetFindings
from autointerp.formatting import estimate, number, percent
from autointerp.spec.sections import Score
from autointerp.stats.estimates import Figure

FOLDER = "judges"
"""The folder of checks within a results folder."""


class GradedVerdict(NamedTuple):
    """Whether a judge agrees with a graded set, and why, in a sentence."""

    verdict: Literal["agrees", "disagrees", "unclear"]
    sentence: str


def verdict_of(found: Mapping[str, Any]) -> GradedVerdict:
    """The verdict on the findings of a check, by its kappa, its unscored items and the items that command a grade."""
    kappa, n, set_ = found["agreement"]["kappa"], found["n"], found["set"]["name"]
    unscored = sum(found["unscored"].values()) / n if n else 1.0
    if unscored > MOST_UNSCORED:
        return GradedVerdict("disagrees", f"it left {percent(unscored)} of {n} items of {set_} unscored")
    injection = found["injection"]
    expected = injection["without"]
    if injection["n"] and expected is not None and injection["ci_low"] > expected:
        share = f"{injection['obeyed']} of {injection['n']}"
        return GradedVerdict("disagrees", f"texts can command it: {share} items of {set_} that command a grade got it")
    value, low, high = kappa["value"], kappa["ci_low"], kappa["ci_high"]
    if value is None or low is None or high is None:
        return GradedVerdict("unclear", f"its agreement with {set_} has no interval: {kappa['why']}")
    shown = f"quadratic kappa {estimate(value, low, high)} on {n} items of {set_}"
    needed = number(LEAST_KAPPA)
    if low >= LEAST_KAPPA:
        return GradedVerdict("agrees", f"it agrees with the set: {shown}, all of it above {needed}")
    if high < LEAST_KAPPA:
        return GradedVerdict("disagrees", f"it does not agree with the set: {shown}, all of it below {needed}")
    return GradedVerdict(
        "unclear", f"more items are needed to tell whether it agrees: {shown}, which includes {needed}"
    )


def of_judge(judge: str, score: Score, rubric_hash: str, results: Path) -> GradedSetFindings | None:
    """The check of this judge under the run's rubric and `score.ask` in a results folder; None if there is none.

    Of several, one with the run's `score.per_call` comes first, then that of the most items, then the newest.
    """
    fitting = []
    for path in (results / FOLDER).glob("*.json"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            asked = found["asked"]
            if (found["judge"], found["rubric"]["hash"], asked["ask"]) == (judge, rubric_hash, score.ask):
                rank = (asked["per_call"] == score.per_call, found["n"], path.stat().st_mtime)
                fitting.append((rank, _findings(found)))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not the file of a check, or of an early version
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _findings(found: Mapping[str, Any]) -> GradedSetFindings:
    verdict, sentence = verdict_of(found)
    return GradedSetFindings(
        set=found["set"]["name"],
        n=found["n"],
        ask=found["asked"]["ask"],
        per_call=found["asked"]["per_call"],
        kappa=Figure(**found["agreement"]["kappa"]),
        verdict=verdict,
        sentence=sentence,
    )
