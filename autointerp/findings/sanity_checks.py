"""The rule by which a grade is withheld: four sanity checks that a useless judge, or an untrained dictionary, would fail.

A mean grade says nothing if explanations do not tell features from their neighbours, if active windows are graded no higher than silent
ones, own explanations no higher than those of other units, or features no higher than those of random weights. Each that fails withholds
the headline and makes the judge not reliable. `docs/reading-a-report.md` states the rule in words.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from autointerp.findings.evidence import Evidence
from autointerp.findings.results import Controls, Distinction
from autointerp.formatting import estimate, percent, plural
from autointerp.stats.estimates import PairedDifference


class Check(NamedTuple):
    """The result of one check of the judge."""

    name: str
    passed: bool | None
    """None if it was not measured."""
    message: str
    """The result in a sentence or two."""
    short_message: str
    """The same in a few words, to be joined with others."""
    disqualifying: bool = False
    """Whether this result alone makes the judge unreliable."""


class Measured(Protocol):
    """The measurements on which the rule rests; those of a `Summary`."""

    @property
    def controls(self) -> Controls: ...
    @property
    def evidence(self) -> Evidence | None: ...
    @property
    def distinction(self) -> Distinction | None: ...


class Measurements(NamedTuple):
    """The measurements before there is a summary."""

    controls: Controls
    evidence: Evidence | None
    distinction: Distinction | None


def withheld_reasons(measured: Measured) -> list[str]:
    """Reasons for withholding a grade: the sanity checks that failed."""
    return [check.short_message for rule in RULE if (check := rule(measured)).passed is False]


def distinction(measured: Measured) -> Check:
    """Explanations pick features out of their neighbours more often than a judge that guesses."""
    told = measured.distinction.feature if measured.distinction else None
    if told is None:
        message = "No window of a neighbouring unit was judged, so explanations that claim too much would go unnoticed"
        return not_measured("distinction", message, "no windows of neighbours were judged")
    if told.value is None or (told.ci_low is None and told.value > told.chance):
        message = f"Too few features have windows of neighbours: {told.why}"
        return not_measured("distinction", message, "too few features have windows of neighbours")
    shown = f"{share(told.value, told.ci_low, told.ci_high)} over {plural(told.n_units, 'feature')}"
    passed = told.ci_low is not None and told.ci_low > told.chance
    short = "explanations tell features from their neighbours" + ("" if passed else " no better than chance")
    message = f"{short.capitalize()}: {shown}, where chance is {percent(told.chance)}."
    return Check("distinction", passed, message, short, disqualifying=not passed)


def floor(measured: Measured) -> Check:
    """A unit's own explanation is graded higher than another unit's."""
    return _contrast(
        "floor",
        measured.controls.main_minus_shuffled,
        unmeasured=(
            "No exemplar was judged under another unit's explanation, so nothing shows that the judge reads explanations",
            "no shuffled explanations were judged",
        ),
        passed=(
            "The judge grades a unit's own explanation higher than another unit's",
            "own explanations are graded higher than those of other units",
        ),
        failed=(
            "The judge cannot tell a unit's own explanation from another unit's",
            "own explanations are graded no higher than those of other units",
        ),
    )


def base_rate(measured: Measured) -> Check:
    """Explanations are graded higher where the unit is active than where it is silent."""
    return _contrast(
        "base_rate",
        measured.controls.main_minus_base_rate,
        unmeasured=(
            "No silent window was judged, so explanations that fit any text would go unnoticed",
            "no silent windows were judged",
        ),
        passed=(
            "Explanations are graded higher where the unit is active than where it is silent",
            "active windows are graded higher than silent ones",
        ),
        failed=(
            "Explanations are graded no higher where the unit is active than where it is silent",
            "active windows are graded no higher than silent ones",
        ),
    )


def random_weights(measured: Measured) -> Check:
    """Features are graded higher than units of random weights."""
    kinds = (measured.evidence.random if measured.evidence else None) or {}
    known = {kind: units for kind, units in kinds.items() if units.features_minus.difference is not None}
    found = {
        kind: _contrast(
            "random",
            PairedDifference(**units.features_minus.model_dump(), n_units=units.n),
            unmeasured=("No unit of random weights has a grade", "no units of random weights were graded"),
            passed=(
                f"Features are graded higher than those of a {kind.replace('_', ' ')}",
                "features are graded higher than those of random weights",
            ),
            failed=(
                f"Features are graded no higher than those of a {kind.replace('_', ' ')}",
                f"features are graded no higher than those of a {kind.replace('_', ' ')}",
            ),
        )
        for kind, units in known.items()
    }
    order = (False, None, True)
    if not found:
        reasons = dict.fromkeys(units.why for units in kinds.values() if units.why)
        because = f" ({'; '.join(map(str, reasons))})" if reasons else ""
        message = f"No features of random weights were graded{because}, so the grade that an untrained dictionary earns is not known"
        return not_measured("random", message, "no features of random weights were graded")
    return min(found.values(), key=lambda check: order.index(check.passed))


RULE = (distinction, base_rate, floor, random_weights)
"""The checks that withhold a grade, in the order in which their reasons are listed."""


def not_measured(name: str, message: str, short_message: str) -> Check:
    """A check that was not measured."""
    return Check(name, None, f"{message}.", short_message)


def share(value: float, low: float | None, high: float | None) -> str:
    """A share with its interval: `71% [66, 76]`."""
    if low is None or high is None:
        return percent(value, 0)
    return f"{percent(value, 0)} [{100 * low:.0f}, {100 * high:.0f}]"


def _contrast(
    name: str,
    contrast: PairedDifference,
    *,
    unmeasured: tuple[str, str],
    passed: tuple[str, str],
    failed: tuple[str, str],
) -> Check:
    """Passed if the interval of a difference lies above 0. Of each outcome, its message and its short message."""
    difference, low = contrast.difference, contrast.ci_low
    if difference is None:
        return not_measured(name, *unmeasured)
    units = plural(contrast.n_units, "unit")
    shown = f"the difference is {estimate(difference, low, contrast.ci_high, signed=True)} over {units}"
    if low is None and difference > 0:
        return not_measured(name, f"{passed[0]}, but there is no interval: {shown}", unmeasured[1])
    above = low is not None and low > 0
    message, short_message = passed if above else failed
    return Check(name, above, f"{message}: {shown}.", short_message, disqualifying=not above)
