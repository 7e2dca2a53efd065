"""Checks of the judge's reliability, each with its threshold. Verdict, caveats and a headline withheld because of the judge rest on these.

A check passes, fails, or was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from autointerp.findings import sanity_checks
from autointerp.findings.evidence import PlantedItems, PlantedUnits
from autointerp.findings.sanity_checks import Check, not_measured
from autointerp.findings.summary import GradedSetFindings, Summary
from autointerp.formatting import estimate, number, percent, plural
from autointerp.spec.providers import is_llm
from autointerp.stats.comparison import MIN_FOR_INTERVAL, Comparison
from autointerp.stats.estimates import Figure
from autointerp.stats.prediction_powered import MIN_LABELS, Corrected

CORRECT_ENOUGH = 0.9
"""Share of planted items that must be graded correctly. A judge that is correct on a share r shows 2r - 1 of a difference of two grades."""
CORRECT_AT_LEAST = 0.75
"""Below this share the judge shows less than half of a difference, and is not reliable."""
MIN_PLANTED = MIN_FOR_INTERVAL
"""Fewer planted units show nothing, because their difference has no interval."""
MOST_FLIPS = 0.2
"""Repeated grades may differ in at most this share of cases."""
LEAST_ICC = 0.75
"""Required reliability of a single grade; Koo and Li (2016) call it good."""
MIN_REPEATED = 10
"""Fewer items graded repeatedly do not show how far grades repeat."""
LEAST_KAPPA = 0.4
"""Required lower limit of quadratic kappa; Landis and Koch (1977) call agreement from there on moderate."""
MOST_UNSCORED = 0.1
"""A larger unscored share fails, whatever the spec allows."""
_ALIASES = {"o": "gpt", "chatgpt": "gpt"}


def checks_of(summary: Summary) -> dict[str, Check]:
    """All checks of a run's judge, by name."""
    results = [check(summary) for check in CHECKS]
    if found := summary.graded_set:
        results.append(graded_set_check(found))
    return {result.name: result for result in results}


def family(model: str) -> str:
    """The family of a judge's model by its name: `claude`, `gpt`, `llama`, `qwen`; a name that starts otherwise is its own family."""
    name = model.rsplit("/", 1)[-1].lower()
    word = re.match(r"[a-z]+", name)
    return _ALIASES.get(word[0], word[0]) if word else name


def separation_failure(planted: PlantedUnits | None) -> str | None:
    """What the judge does wrong on planted units, as the rest of a sentence about it; None if it separates hits from misses.

    Too few planted units are no failure. A judge that fails here gets no headline.
    """
    if planted is None or planted.n_units < MIN_PLANTED or planted.separates:
        return None
    separation, units = planted.separation, plural(planted.n_units, "planted unit")
    if separation.mean is None:
        return f"left all texts with or without the words of {units} unscored"
    difference = estimate(separation.mean, separation.ci_low, separation.ci_high, signed=True)
    return f"does not tell planted words from other text: the mean grades differ by {difference} over {units}"


def _planted(summary: Summary) -> Check:
    planted = summary.evidence.planted if summary.evidence else None
    if planted is None:
        why = summary.evidence.reason("planted") if summary.evidence else None
        message = "No unit with a known explanation was planted" + (f" ({why})" if why else "")
        return not_measured("planted", message, "no units were planted")
    units = plural(planted.n_units, "planted unit")
    if planted.n_units < MIN_PLANTED:
        message = f"Only {units}, and at least {MIN_PLANTED} are needed" + (f" ({planted.why})" if planted.why else "")
        return not_measured("planted", message, f"only {units}")
    if failure := separation_failure(planted):
        return Check("planted", False, f"The judge {failure}.", f"it {failure}", disqualifying=True)
    hits, misses = _correct_shares(summary, planted)
    if hits is None or misses is None:
        message = "All texts with or all texts without the planted words were left unscored"
        return not_measured("planted", message, "planted units were left unscored")
    share = (hits + misses) / 2
    separation = estimate(planted.separation.mean, planted.separation.ci_low, planted.separation.ci_high)
    message = (
        f"The judge graded correctly {percent(hits)} of the texts that {units} fire on and {percent(misses)} of other texts;"
        f" the mean grades differ by {separation}."
    )
    short_message = f"{percent(hits)} of the texts that synthetic units fire on, and {percent(misses)} of other texts, are graded correctly"
    if share >= CORRECT_ENOUGH:
        return Check("planted", True, message, short_message)
    message += f" At least {percent(CORRECT_ENOUGH)} should be correct."
    return Check("planted", False, message, f"only {short_message}", disqualifying=share < CORRECT_AT_LEAST)


def _correct_shares(summary: Summary, planted: PlantedUnits) -> tuple[float | None, float | None]:
    """The shares of hits graded in the upper half of the scale, and of misses graded in the lower half.

    They are averaged later: in a single share, the larger of the two classes would outweigh the other.
    """
    grades = summary.rubric.grades
    middle = (grades[0] + grades[-1]) / 2

    def share(items: PlantedItems, is_correct: Callable[[int], bool]) -> float | None:
        total = sum(items.given.values())
        return sum(n for grade, n in items.given.items() if is_correct(int(grade))) / total if total else None

    return share(planted.hits, lambda grade: grade > middle), share(planted.misses, lambda grade: grade <= middle)


def _noise(summary: Summary) -> Check:
    repeats = summary.evidence.repeats if summary.evidence else None
    if repeats is None:
        return not_measured("noise", "No item was graded more than once", "repeatability was not measured")
    items, flips, icc = plural(repeats.n, "item"), repeats.flip_rate.value or 0.0, repeats.icc_single
    message = f"Two grades of the same item differ in {percent(flips)} of cases ({items} graded repeatedly)"
    if repeats.n < MIN_REPEATED:
        message += f"; at least {MIN_REPEATED} items are needed"
        return not_measured("noise", message, f"repeatability was measured on only {items}")
    if icc.value is None:
        message += f"; the reliability of a single grade is {icc.why}"
        return not_measured("noise", message, "the reliability of its grades is undefined")
    message += f"; the reliability of a single grade (ICC) is {estimate(icc.value, icc.ci_low, icc.ci_high)}"
    if flips <= MOST_FLIPS and icc.value >= LEAST_ICC:
        return Check("noise", True, f"{message}.", f"its grades repeat ({percent(flips)} differ)")
    message += f". At most {percent(MOST_FLIPS)} may differ, and the ICC must be at least {number(LEAST_ICC)}."
    return Check("noise", False, message, f"its grades do not repeat ({percent(flips)} differ)")


def _second(summary: Summary) -> Check:
    second = summary.evidence.second if summary.evidence else None
    if second is None:
        return not_measured("second", "No second judge graded a sample", "no second judge")
    kappa = second.agreement.kappa
    agrees, agreement = _agreement(kappa, second.judge, second.n)
    same, reversed_, conclusion = _same_conclusion(
        summary, second.corrected.difference, f"the grades of {second.judge}"
    )
    passed = _all(agrees, same)
    llm = is_llm(second.judge)
    if passed and (not llm or family(second.judge) in {family(summary.judge), family(summary.explainer)}):
        passed = None
        why = "is of the explainer's or the judge's family" if llm else "is not a language model"
        conclusion += f" This does not count as confirmation, because {second.judge} {why}."
    short_message = f"{second.judge} {_confirms(passed)} (kappa {_shown(kappa)})"
    return Check("second", passed, f"{agreement} {conclusion}".strip(), short_message, disqualifying=reversed_)


def _people(summary: Summary) -> Check:
    people = summary.evidence.people if summary.evidence else None
    if people is None:
        message = "No person has graded a sample; `autointerp label RUN` collects grades"
        return not_measured("people", message, "no person has graded a sample")
    each = [_agreement(pair.kappa, pair.b, pair.n) for pair in people.agreement]
    enough = [agrees for (agrees, _), pair in zip(each, people.agreement, strict=True) if pair.n >= MIN_LABELS]
    agree = _all(*enough) if enough else None
    same, reversed_, conclusion = _same_conclusion(summary, people.corrected.difference, "people's grades")
    passed = _all(agree, same)
    message = " ".join([*(agreement for _, agreement in each), conclusion]).strip()
    kappas = ", ".join(_shown(pair.kappa) for pair in people.agreement)
    short_message = f"people {_confirms(passed, many=True)} (kappa {kappas})"
    return Check("people", passed, message, short_message, disqualifying=reversed_)


def _agreement(kappa: Figure, name: str, n: int) -> tuple[bool | None, str]:
    """Whether a grader agrees with the judge (None if that is undefined), and a sentence."""
    graded = f"Agreement with {name} on {plural(n, 'item')}: quadratic kappa"
    if kappa.value is None or kappa.ci_low is None:
        value = "" if kappa.value is None else f"{number(kappa.value)}, "
        return None, f"{graded} {value}{kappa.why}."
    return kappa.ci_low >= LEAST_KAPPA, f"{graded} {_shown(kappa)}."


def _same_conclusion(summary: Summary, corrected: Corrected, by: str) -> tuple[bool | None, bool, str]:
    """Whether the corrected headline leads to the same conclusion (None if there is none), whether to the opposite, and a sentence."""
    if summary.headline.withheld or not summary.headline.n_neurons:
        return True, False, ""
    figures = summary.weightings.bin_uniform
    ours, theirs = _conclusion(figures), _conclusion(corrected)
    if corrected.value is None or ours is None or theirs is None:
        why = corrected.why or "there is no interval to compare"
        return None, False, f"The headline could not be corrected by {by}: {why}."
    before = estimate(figures.difference, figures.ci_low, figures.ci_high)
    opposite = ours * theirs < 0
    change = "is unchanged" if ours == theirs else "is reversed" if opposite else "changes"
    sentence = f"Corrected by {by}, the headline's conclusion {change}: {before} becomes {_shown(corrected)}."
    return ours == theirs, opposite, sentence


def _conclusion(figures: Comparison | Corrected) -> int | None:
    """The sign of a difference whose interval excludes 0, else 0; None without an interval."""
    low, high = figures.ci_low, figures.ci_high
    return None if low is None or high is None else int(low > 0) - int(high < 0)


def _unscored(summary: Summary) -> Check:
    judged = summary.controls.main.all
    if not judged.n + judged.n_unscored:
        return not_measured("unscored", "Nothing was judged", "nothing was judged")
    share = max([summary.unscored_share, *(share for share in summary.main_unscored_share.values() if share)])
    low, high = summary.headline_bounds.low, summary.headline_bounds.high
    message = f"{percent(summary.unscored_share)} of all judgements are unscored, and at most {percent(share)} for either kind of unit"
    undone = bool(_conclusion(summary.reading)) and low is not None and high is not None and low * high <= 0
    if undone:
        message += (
            "; these could undo the difference, which lies between"
            f" {number(low)} and {number(high)} depending on their grades"
        )
    passed = share <= MOST_UNSCORED and not undone
    short_message = "the unscored judgements could undo the headline" if undone else f"{percent(share)} are unscored"
    return Check("unscored", passed, f"{message}.", short_message)


def _families(summary: Summary) -> Check:
    judge, explainer = summary.judge, summary.explainer
    if judge == explainer:
        message = f"The same model ({judge}) explains and judges: it may prefer its own explanations."
        return Check("families", False, message, "the same model explains and judges")
    if family(judge) == family(explainer):
        message = f"Models of one family explain ({explainer}) and judge ({judge}): a model may prefer explanations like its own."
        return Check("families", False, message, "models of one family explain and judge")
    message = f"Models of different families explain ({explainer}) and judge ({judge})."
    return Check("families", True, message, "models of different families explain and judge")


def _llm(summary: Summary) -> Check:
    judge = summary.judge
    if summary.judge_is_llm:
        return Check("llm", True, f"The judge is a language model: {judge}.", "it is a language model")
    message = f"The judge ({judge}) is not a language model: its grades are those of a baseline, and not comparable with an LLM's."
    return Check("llm", False, message, "it is not a language model")


def graded_set_check(found: GradedSetFindings) -> Check:
    """The check of a judge by its graded set, for the runs that have one."""
    passed = {"agrees": True, "disagrees": False, "unclear": None}[found.verdict]
    message = f"Measured by `autointerp judges check`: {found.sentence}."
    return Check("graded_set", passed, message, f"on a graded set {found.sentence}")


CHECKS: tuple[Callable[[Summary], Check], ...] = (
    _planted,
    sanity_checks.floor,
    sanity_checks.base_rate,
    sanity_checks.distinction,
    sanity_checks.random_weights,
    *(_noise, _people, _second, _unscored, _families, _llm),
)
"""Every check of every run, in the order in which reports list them."""


def _all(*results: bool | None) -> bool | None:
    """False if any is False, else None if any is None, else True."""
    return False if False in results else None if None in results else True


def _confirms(passed: bool | None, *, many: bool = False) -> str:
    """What a grader does to the headline, as a predicate; `many` for a plural subject."""
    s = "" if many else "s"
    predicates = {
        True: f"confirm{s} it",
        False: f"contradict{s} it",
        None: f"neither confirm{s} nor contradict{s} it",
    }
    return predicates[passed]


def _shown(figure: Figure) -> str:
    return "undefined" if figure.value is None else estimate(figure.value, figure.ci_low, figure.ci_high)
