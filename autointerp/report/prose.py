"""The summary in sentences. The page, the Markdown report and the index share them, so that they cannot disagree."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

from autointerp.findings import judge_verdict
from autointerp.findings.sanity_checks import share
from autointerp.findings.summary import JudgeVerdict, Summary
from autointerp.formatting import count, dollars, estimate, number, percent, plural
from autointerp.records import GIVEN
from autointerp.report.differences import corrected_by_people, leading_difference
from autointerp.stats.comparison import Comparison

ARMS = {
    "main": "own explanation",
    "shuffled": "another unit's explanation",
    "base_rate": "silent windows",
    "neighbour": "windows of neighbours",
}
PLANTED = {"hits": "planted word marked", "near": "word beside it marked", "misses": "no planted word"}
KINDS = {
    "planted": "planted",
    "random_dictionary": "random dictionary",
    "random_subject": "random subject",
    "basis_direction": "basis direction",
    "random_direction": "random direction",
}
"""Names of control units, which are never counted among features and neurons."""
READ_CONTROLS = {
    "random_dictionary": "random weights",
    "random_subject": "random weights",
    "basis_direction": "no training",
    "random_direction": "no training",
}
"""Kinds of control units that are read, explained and judged as features are, with what they lack."""
VERDICTS = {
    "believe": ("The judge is reliable", "judge reliable"),
    "with_care": ("Judge: interpret with caution", "judge: caution"),
    "do_not": ("The judge is not reliable", "judge not reliable"),
}
"""The verdict on the judge as a heading, and as a mark in a list."""
CHECKS = {
    "planted": "Planted units",
    "floor": "Shuffled explanations",
    "base_rate": "Silent windows",
    "distinction": "Windows of neighbours",
    "random": "Random weights",
    "noise": "Repeatability",
    "people": "Human labels",
    "second": "Second judge",
    "unscored": "Unscored judgements",
    "families": "Model families",
    "llm": "Language model",
    "graded_set": "Graded set",
}
PASSED = {True: "passed", False: "failed", None: "not measured"}
AIDS = {
    "contrast": "contrasting windows",
    "neighbours": "windows of neighbouring features",
    "logits": "effects on the logits",
    "revise": "one revision",
}
OUTCOMES = {
    "scored": "scored",
    "refusal": "the judge refused",
    "truncated": "the reply was cut off",
    "parse_failure": "the reply could not be read",
    "out_of_range": "the grade is not on the scale",
    "too_long": "the prompt or the explanation was too long",
    "content_rejected": "the provider rejected the content",
    "provider_error": "the provider failed",
    "no_explanation": "the unit has no explanation",
    "gave_up": "given up after several attempts",
}


@dataclass(frozen=True)
class Verdict:
    """The headline as the parts of a sentence: claim, number, scale, basis. A withheld headline has no number and no scale."""

    tone: Literal["higher", "lower", "none", "withheld"]
    claim: str
    number: str
    scale: str
    basis: str

    @property
    def sentence(self) -> str:
        """The parts joined, as the page shows them."""
        return " ".join(part for part in (self.claim, self.number, self.scale, self.basis) if part)


def verdict(summary: Summary) -> Verdict:
    """The headline in words. If its interval includes 0, it shows no difference."""
    headline = summary.headline
    basis = f"({_basis(summary)})"
    if headline.withheld:
        reason = headline.withheld.strip().rstrip(".")
        return Verdict("withheld", f"The headline is withheld: {reason}", "", "", basis)
    if not headline.n_neurons:
        return _alone(summary, basis)
    leading = leading_difference(summary)
    number = estimate(leading.value, leading.ci_low, leading.ci_high)
    scale = f"on the {scale_of(summary)} scale" + (", corrected by people's grades" if leading.corrected else "")
    if leading.ci_low is None or leading.ci_high is None:
        basis = f"({leading.why}; {_basis(summary)})" if leading.why else basis
        return Verdict("none", "Features minus neurons, without an interval:", number, scale, basis)
    specific = summary.rubric.name == "specificity"
    if leading.ci_low > 0:
        claim = "Features are more specific than neurons by" if specific else "Features score higher than neurons by"
        return Verdict("higher", claim, number, scale, basis)
    if leading.ci_high < 0:
        claim = "Features are less specific than neurons:" if specific else "Features score lower than neurons:"
        return Verdict("lower", claim, number, scale, basis)
    return Verdict("none", "No difference shown between features and neurons:", number, scale, basis)


def _alone(summary: Summary, basis: str) -> Verdict:
    """The verdict on features without neurons. A lead that says their grade already is not repeated."""
    if lead(summary):
        return Verdict("none", "No neurons were sampled, so they are not compared", "", "", basis)
    grade = summary.controls.main.feature
    shown = estimate(grade.mean, grade.ci_low, grade.ci_high)
    return Verdict(
        "none", "Features, without neurons to compare, are graded", shown, f"on the {scale_of(summary)} scale", basis
    )


def lead(summary: Summary) -> str:
    """The first line of a report: the features' mean grade where they are active, and how far they are told from their neighbours.

    Empty if the headline is withheld or neighbours' windows were not judged: a grade alone is not a result.
    """
    corrected, by_judge = corrected_by_people(summary), summary.controls.main.feature
    grade = corrected.features.value if corrected else by_judge.mean
    limits = corrected.features if corrected else by_judge
    told = summary.distinction.feature if summary.distinction else None
    if summary.headline.withheld or grade is None or told is None or told.value is None:
        return ""
    graded = f"{number(grade, 1)} of {summary.rubric.grades[-1]}"
    if limits.ci_low is not None and limits.ci_high is not None:
        graded += f" [{number(limits.ci_low, 1)}, {number(limits.ci_high, 1)}]"
    return (
        f"Features are graded {graded} where they fire, and told from their neighbours in"
        f" {share(told.value, told.ci_low, told.ci_high)} of cases (chance {percent(told.chance)})."
    )


def averaged(summary: Summary) -> str:
    """The average that the leading mean grades are: it differs from that of the first line, which is over units."""
    headline = summary.headline
    if corrected_by_people(summary) or not headline.n_neurons:
        return "mean grade"
    return {
        "bin_uniform": "mean of the bins above",
        "equal_rarity": "mean of equally rare levels",
        "frequency": "mean over events",
    }.get(headline.weighting, "mean grade")


def arms(summary: Summary) -> dict[str, str]:
    """The arms of a run with their names."""
    return {arm: name for arm, name in ARMS.items() if arm != "neighbour" or summary.controls.neighbour}


def _basis(summary: Summary) -> str:
    headline = summary.headline
    unscored = sum(summary.unscored.values())
    units = f"{count(headline.n_features_scored)} of {count(headline.n_features)} features"
    if headline.n_neurons:
        units += f" and {count(headline.n_neurons_scored)} of {count(headline.n_neurons)} neurons"
    parts = [f"{units} scored", plural(unscored, "judgement") + " unscored"]
    people = summary.evidence.people if summary.evidence else None
    if people and (corrected := corrected_by_people(summary)):
        labels = plural(corrected.difference.n_labels, "label")
        parts.append(f"{labels} by {plural(len(people.raters), 'person', 'people')}")
    return ", ".join(parts) + "; " + judged_by(summary)


def judged_by(summary: Summary) -> str:
    """Who explained and graded. An explainer or judge that is not an LLM is always named with the words "not an LLM"."""
    explainer = _named(summary.explainer, summary.explainer_is_llm)
    judge = _named(summary.judge, summary.judge_is_llm)
    if explainer == judge:
        return f"explained and graded by {judge}"
    return f"explained by {explainer}, graded by {judge}"


def _named(name: str, is_llm: bool) -> str:
    if name.startswith(GIVEN):
        return f"others ({name.removeprefix(GIVEN)})"
    return name if is_llm else f"the {baseline_name(name)}, not an LLM"


def baseline_name(judge: str) -> str:
    """The name of a judge that is not an LLM, for use in a sentence."""
    return f"{judge} baseline" if "/" not in judge else f"{judge} judge"


def superiority(figures: Comparison) -> str:
    """P(feature > neuron) with its interval; empty if it is not known."""
    value = figures.p_superior
    shown = estimate(value, figures.p_superior_ci_low, figures.p_superior_ci_high)
    return "" if value is None else f"P(feature > neuron) = {shown}"


def robustness(summary: Summary) -> list[str]:
    """Sentences on the bins compared, on the difference if missing scores were other, and on how often each kind is active."""
    sentences = []
    if bins := summary.headline.bins_compared:
        fewest = min(min(row.n_features, row.n_neurons) for row in summary.weightings.bins if row.compared)
        sentences.append(
            f"The headline is the mean difference of {plural(len(bins), 'bin')}, each with at least"
            f" {plural(fewest, 'feature and neuron', 'features and neurons')}."
        )
    bounds, zeroed, density = (
        summary.headline_bounds,
        summary.difference_if_unscored_units_are_zero,
        summary.density,
    )
    if bounds.low is not None and bounds.high is not None and bounds.low != bounds.high:
        sentences.append(
            f"If every missing score had gone against the features, the difference would be {number(bounds.low)}; if all had gone"
            f" in their favour, {number(bounds.high)}."
        )
    if zeroed is not None and zeroed != summary.headline.difference:
        sentences.append(
            f"If every unit without a score, dead ones included, had the lowest grade, it would be {number(zeroed)}."
        )
    if density.ratio is not None:
        medians = f"{percent(density.feature)} of tokens for features, {percent(density.neuron)} for neurons"
        sentences.append(f"The scored units have a median density of {medians}.")
    return sentences


def fit(summary: Summary) -> str:
    """How well the dictionary fits the subject, or why that is doubtful."""
    check = summary.check
    assert check is not None
    if check.said:
        return f"The check before the harvest found that the dictionary {check.said}."
    if check.variance_explained is None:
        return (
            f"The dictionary has {number(check.l0, 1)} active features per token. Its reconstruction was not measured, because it"
            " writes to several layers."
        )
    text = f"The dictionary explains {number(check.variance_explained)} of the variance"
    if check.loss_recovered is not None:
        text += f" and recovers {number(check.loss_recovered)} of the subject's loss"
    active = f"{number(check.l0, 1)} active features per token"
    return f"{text}, with {active}, measured on {count(check.tokens)} tokens before the harvest."


def resemblance(summary: Summary) -> str:
    """The share of features that resemble no neuron, with that of Scaling Monosemanticity for comparison."""
    assert summary.studies is not None
    correlation = summary.studies.correlation
    if correlation.skipped or correlation.signed is None or correlation.absolute is None:
        return f"Features were not compared with neurons: {correlation.skipped}."
    if correlation.signed.share is None:
        return "No sampled feature was active on the tokens of this study."
    where = (
        correlation.layers[0]
        if len(correlation.layers) == 1
        else f"{correlation.layers[0]} to {correlation.layers[-1]}"
    )
    features = plural(correlation.features, "sampled feature")
    return (
        f"For {percent(correlation.signed.share)} of {features}, the most correlated neuron in {where} has a correlation of at most"
        f" {correlation.signed.at_most:g}; by absolute correlation the share is {percent(correlation.absolute.share)}."
        " Scaling Monosemanticity found 82% for its dictionary of 1M features."
    )


class Reliability(NamedTuple):
    """The verdict on the judge in words."""

    verdict: JudgeVerdict
    label: str
    """The verdict as a heading."""
    mark: str
    """The verdict as a mark in a list."""


def judge_reliability(summary: Summary) -> Reliability:
    """How far the judge can be relied on. A summary of an early version has no verdict and gets one here."""
    verdict = summary.belief or judge_verdict.of(summary)
    return Reliability(verdict, *VERDICTS[verdict.verdict])


def cost(summary: Summary) -> str:
    """The run's cost in dollars. If a price is unknown, the cost is unknown or a lower bound, never 0."""
    usd, unknown = summary.cost_usd, summary.cost_unknown_calls
    if usd is None:
        return f"unknown ({plural(unknown, 'call')} without a price)" if unknown else "unknown"
    if unknown:
        return f"more than {dollars(usd)} ({plural(unknown, 'call')} without a price)"
    return dollars(usd)


def closing(summary: Summary, doubts: Collection[str] = ()) -> str:
    """The end of what `autointerp run` prints: the verdict on the judge, and the cost, with doubts about the prices."""
    prices = f", by a price {' or '.join(sorted(doubts))}" if doubts else ""
    return f"{judge_reliability(summary).label}; cost {cost(summary)}{prices}"


def scale_of(summary: Summary) -> str:
    """The range of the rubric's grades, such as `0\u20133`."""
    grades = summary.rubric.grades
    return f"{grades[0]}\u2013{grades[-1]}"
