"""Checks of the judge's reliability, each with its threshold. Verdict, cautions and withheld headlines all rest on these.

A check passes, fails, or was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from autointerp.findings.evidence import PlantedItems, PlantedUnits
from autointerp.findings.summary import Summary
from autointerp.formatting import estimate, number, percent, plural
from autointerp.spec.providers import is_llm
from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import Figure, PairedDifference
from autointerp.stats.prediction_powered import Corrected

RIGHT_ENOUGH = 0.9
"""Share of planted items that must be graded right. Of a difference on two grades, a judge right on a share r shows 2r - 1."""
RIGHT_AT_LEAST = 0.75
"""Below this share the judge shows less than half of a difference, and is not reliable."""
MIN_PLANTED = 3
"""Fewer planted units show nothing: their difference has no interval."""
MOST_FLIPS = 0.2
"""More than one regrading in five that differs counts as noise."""
LEAST_ICC = 0.75
"""The reliability of one grade that Koo and Li (2016) call good."""
MIN_REPEATED = 10
"""Fewer items graded again do not show the judge's noise."""
LEAST_KAPPA = 0.4
"""Lower bound for the interval of quadratic kappa: Landis and Koch (1977) call agreement from there on moderate."""
MIN_LABELS = 15
"""A rater with fewer labels is not counted."""
MOST_UNSCORED = 0.1
"""A larger unscored share fails, whatever the spec allows."""
_ALIASES = {"o": "gpt", "chatgpt": "gpt"}


class Check(NamedTuple):
    """One check. `passed` is None if it was not measured; `short` says `said` in a few words."""

    name: str
    passed: bool | None
    said: str
    short: str
    damning: bool = False
    """Whether this alone makes the judge unreliable."""


def family(model: str) -> str:
    """The family of a judge's model by its name: `claude`, `gpt`, `llama`, `qwen`; any other name is its own family."""
    name = model.rsplit("/", 1)[-1].lower()
    word = re.match(r"[a-z]+", name)
    return _ALIASES.get(word[0], word[0]) if word else name


def _planted(summary: Summary) -> Check:
    planted = summary.evidence.planted if summary.evidence else None
    if planted is None:
        return _unmeasured("planted", "No unit with a known explanation was planted", "no units were planted")
    units = plural(planted.n_units, "planted unit")
    if planted.n_units < MIN_PLANTED:
        return _unmeasured("planted", f"Only {units}: fewer than {MIN_PLANTED} show nothing", f"only {units}")
    separation = planted.separation
    shown = _or_undefined(estimate(separation.mean, separation.ci_low, separation.ci_high), separation.mean)
    if not planted.separates:
        said = f"The judge does not tell the words of {units} from other text: hits minus misses is {shown}."
        short = f"it does not tell planted words from other text (difference {shown})"
        return Check("planted", False, said, short, damning=True)
    hits, misses = _right(summary, planted)
    if hits is None or misses is None:
        return _unmeasured("planted", "Planted units lack graded hits or misses", "planted units were left unscored")
    share = (hits + misses) / 2
    known = f"{percent(hits)} of planted hits and {percent(misses)} of misses"
    said = (
        f"Of {units}, the judge graded {percent(hits)} of hits and {percent(misses)} of misses right; hits are above misses"
        f" by {shown}."
    )
    if share >= RIGHT_ENOUGH:
        return Check("planted", True, said, f"right on {known}")
    needed = f" At least {percent(RIGHT_ENOUGH)} should be."
    return Check("planted", False, said + needed, f"right on only {known}", damning=share < RIGHT_AT_LEAST)


def _right(summary: Summary, planted: PlantedUnits) -> tuple[float | None, float | None]:
    """Shares of planted hits in the upper and of misses in the lower half of the scale; in one share the larger class would win."""
    grades = summary.rubric.grades
    middle = (grades[0] + grades[-1]) / 2

    def share(items: PlantedItems, is_right: Callable[[int], bool]) -> float | None:
        total = sum(items.given.values())
        return sum(n for grade, n in items.given.items() if is_right(int(grade))) / total if total else None

    return share(planted.hits, lambda grade: grade > middle), share(planted.misses, lambda grade: grade <= middle)


def _floor(summary: Summary) -> Check:
    return _contrast(
        summary.controls.main_minus_shuffled,
        "floor",
        "No exemplar was judged under another unit's explanation, so nothing shows that the judge reads explanations",
        "The judge tells a unit's own explanation from another unit's: main minus shuffled is",
        "The judge cannot tell a unit's own explanation from another unit's: main minus shuffled is",
        (
            "no shuffled control",
            "own explanations score above others'",
            "own explanations score no higher than others'",
        ),
    )


def _base_rate(summary: Summary) -> Check:
    return _contrast(
        summary.controls.main_minus_base_rate,
        "base_rate",
        "No silent window was judged, so explanations that fit any text would not be noticed",
        "Active windows score above windows in which the unit is silent: main minus base rate is",
        "Explanations are graded no better where the unit fires than where it is silent: main minus base rate is",
        (
            "no silent windows",
            "active windows score above silent ones",
            "active windows score no higher than silent ones",
        ),
    )


def _contrast(
    contrast: PairedDifference, name: str, lacking: str, above: str, below: str, shorts: tuple[str, str, str]
) -> Check:
    difference, low = contrast.difference, contrast.ci_low
    if difference is None:
        return _unmeasured(name, lacking, shorts[0])
    shown = f"{estimate(difference, low, contrast.ci_high, signed=True)} over {plural(contrast.n_units, 'unit')}"
    if low is None and difference > 0:
        return _unmeasured(name, f"{above} {shown}, without an interval", shorts[0])
    if low is not None and low > 0:
        return Check(name, True, f"{above} {shown}.", shorts[1])
    return Check(name, False, f"{below} {shown}.", shorts[2])


def _noise(summary: Summary) -> Check:
    repeats = summary.evidence.repeats if summary.evidence else None
    if repeats is None:
        return _unmeasured("noise", "No item was graded twice", "its noise was not measured")
    items, flips, icc = plural(repeats.n, "item"), repeats.flip_rate.value or 0.0, repeats.icc_single
    said = f"Of {items} graded again, {percent(flips)} of regradings differ"
    if repeats.n < MIN_REPEATED:
        return _unmeasured("noise", f"{said}: too few items", f"its noise is known from {items} only")
    if icc.value is None:
        return _unmeasured("noise", f"{said}; the reliability of a grade is {icc.why}", "its noise is undefined")
    said += f"; the reliability of one grade (ICC) is {estimate(icc.value, icc.ci_low, icc.ci_high)}"
    low = flips <= MOST_FLIPS and icc.value >= LEAST_ICC
    short = "its grades repeat" if low else "its grades do not repeat"
    limits = "" if low else f"; the limits are {percent(MOST_FLIPS)} and {number(LEAST_ICC)}"
    return Check("noise", low, f"{said}{limits}.", f"{short} ({percent(flips)} differ)")


def _second(summary: Summary) -> Check:
    second = summary.evidence.second if summary.evidence else None
    if second is None:
        return _unmeasured("second", "No second judge graded a sample", "no second judge")
    kappa = second.agreement.kappa
    agrees, said = _agrees(kappa, second.judge, second.n)
    same, opposes, claim = _same_claim(summary, second.corrected.difference, f"{second.judge}'s grades")
    known = {family(summary.judge), family(summary.explainer)}
    passed = _all(agrees, same)
    if passed and (family(second.judge) in known or not is_llm(second.judge)):
        passed = None
        claim += " It belongs to a family that explained or judged here, or is no LLM: it confirms nothing."
    short = f"{second.judge} {_confirms(passed)} (kappa {_shown(kappa)})"
    return Check("second", passed, f"{said} {claim}".strip(), short, damning=opposes)


def _people(summary: Summary) -> Check:
    people = summary.evidence.people if summary.evidence else None
    if people is None:
        return _unmeasured(
            "people", "No person has graded a sample; `autointerp label RUN` collects grades", "no person has graded"
        )
    each = [_agrees(pair.kappa, pair.b, pair.n) for pair in people.agreement]
    enough = [agrees for (agrees, _), pair in zip(each, people.agreement, strict=True) if pair.n >= MIN_LABELS]
    agrees = _all(*enough) if enough else None
    same, opposes, claim = _same_claim(summary, people.corrected.difference, "people's grades")
    passed = _all(agrees, same)
    said = " ".join([*(sentence for _, sentence in each), claim]).strip()
    kappas = ", ".join(_shown(pair.kappa) for pair in people.agreement)
    return Check("people", passed, said, f"people {_confirms(passed, many=True)} (kappa {kappas})", damning=opposes)


def _agrees(kappa: Figure, name: str, n: int) -> tuple[bool | None, str]:
    on = f"on {plural(n, 'item')}"
    if kappa.value is None or kappa.ci_low is None:
        value = "" if kappa.value is None else f"{number(kappa.value)}, "
        return None, f"Agreement with {name} {on}: quadratic kappa {value}{kappa.why}."
    return kappa.ci_low >= LEAST_KAPPA, f"Agreement with {name} {on}: quadratic kappa {_shown(kappa)}."


def _same_claim(summary: Summary, corrected: Corrected, by: str) -> tuple[bool | None, bool, str]:
    """Whether the corrected headline claims the same as the headline, whether it claims the opposite, and a sentence."""
    if summary.headline.withheld:
        return True, False, ""
    figures = summary.weightings.bin_uniform
    ours, theirs = _claim(figures), _claim(corrected)
    if corrected.value is None or ours is None or theirs is None:
        why = corrected.why or "there is no interval to compare"
        return None, False, f"The headline is not corrected by {by}: {why}."
    before = estimate(figures.difference, figures.ci_low, figures.ci_high)
    moved = f"{before} becomes {_shown(corrected)}"
    if ours == theirs:
        return True, False, f"Corrected by {by}, the headline says the same: {moved}."
    if ours * theirs < 0:
        return False, True, f"Corrected by {by}, the headline says the opposite: {moved}."
    return False, False, f"Corrected by {by}, the headline no longer says the same: {moved}."


def _claim(figures: Comparison | Corrected) -> int | None:
    """The sign of a difference whose interval excludes 0, else 0; None without an interval."""
    low, high = figures.ci_low, figures.ci_high
    return None if low is None or high is None else int(low > 0) - int(high < 0)


def _unscored(summary: Summary) -> Check:
    judged = summary.controls.main.all
    if not judged.n + judged.n_unscored:
        return _unmeasured("unscored", "Nothing was judged", "nothing was judged")
    share = max([summary.unscored_share, *(share for share in summary.main_unscored_share.values() if share)])
    low, high = summary.headline_bounds.low, summary.headline_bounds.high
    said = f"{percent(summary.unscored_share)} of all judgements are unscored, at most {percent(share)} within one kind"
    undone = bool(_claim(summary.weightings.bin_uniform)) and low is not None and high is not None and low * high <= 0
    if undone:
        said += (
            f"; this could undo the difference: if all of it had gone one way, the difference would lie between {number(low)}"
            f" and {number(high)}"
        )
    passed = share <= MOST_UNSCORED and not undone
    short = "the unscored judgements could undo the headline" if undone else f"{percent(share)} are unscored"
    return Check("unscored", passed, f"{said}.", short)


def _families(summary: Summary) -> Check:
    judge, explainer = summary.judge, summary.explainer
    if judge == explainer:
        said = f"The same model ({judge}) explains and judges: it may prefer its own explanations."
        return Check("families", False, said, "one model explains and judges")
    if family(judge) == family(explainer):
        said = f"Models of one family explain ({explainer}) and judge ({judge}): a model may prefer explanations like its own."
        return Check("families", False, said, "one family explains and judges")
    return Check("families", True, f"Different families explain ({explainer}) and judge ({judge}).", "families differ")


def _llm(summary: Summary) -> Check:
    judge = summary.judge
    if summary.judge_is_llm:
        return Check("llm", True, f"The judge is a language model: {judge}.", "it is a language model")
    said = (
        f"The judge ({judge}) is not a language model: its grades are a baseline's, and not comparable with an LLM's."
    )
    return Check("llm", False, said, "it is not a language model")


CHECKS: tuple[Callable[[Summary], Check], ...] = (
    *(_planted, _floor, _base_rate, _noise, _people, _second, _unscored, _families, _llm),
)


def _unmeasured(name: str, said: str, short: str) -> Check:
    return Check(name, None, f"{said}.", short)


def _all(*answers: bool | None) -> bool | None:
    """False where one is, else None where one is, else True."""
    return False if False in answers else None if None in answers else True


def _confirms(passed: bool | None, *, many: bool = False) -> str:
    s = "" if many else "s"
    words = {
        True: f"confirm{s} it",
        False: f"contradict{s} it",
        None: f"neither confirm{s} nor contradict{s} it",
    }
    return words[passed]


def _shown(figure: Figure) -> str:
    return _or_undefined(estimate(figure.value, figure.ci_low, figure.ci_high), figure.value)


def _or_undefined(text: str, value: float | None) -> str:
    return "undefined" if value is None else text
