"""The summary in sentences, shared by the page, the text report and the index, so that they cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from autointerp.findings import judge_verdict
from autointerp.findings.summary import JudgeVerdict, Summary
from autointerp.formatting import count, dollars, estimate, number, percent, plural
from autointerp.stats.comparison import Comparison

ARMS = {"main": "own explanation", "shuffled": "another unit's explanation", "base_rate": "silent windows"}
PLANTED = {"hits": "planted words, marked", "near": "a word beside them", "misses": "texts without them"}
KINDS = {
    "planted": "planted",
    "random_dictionary": "random dictionary",
    "random_subject": "random subject",
}
"""Units that are controls, never among features and neurons."""
RANDOM = ("random_dictionary", "random_subject")
VERDICTS = {
    "believe": ("The judge is reliable", "judge reliable"),
    "with_care": ("Judge: interpret with caution", "judge: caution"),
    "do_not": ("The judge is not reliable", "judge not reliable"),
}
"""The judge's verdict as a heading, and as a mark in a list."""
CHECKS = {
    "planted": "Planted units",
    "floor": "Shuffled explanations",
    "base_rate": "Silent windows",
    "noise": "Repeats",
    "people": "Human labels",
    "second": "Second judge",
    "unscored": "Unscored",
    "families": "Different families",
    "llm": "Language model",
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
    """The headline as a sentence in parts: `claim` `number` `scale` `basis`. A withheld one has no number."""

    tone: Literal["higher", "lower", "none", "withheld"]
    claim: str
    number: str
    scale: str
    basis: str

    @property
    def sentence(self) -> str:
        """The whole sentence, as the page shows it."""
        return " ".join(part for part in (self.claim, self.number, self.scale, self.basis) if part)


def verdict(summary: Summary) -> Verdict:
    """The headline in words. An interval that includes 0 is said to show no difference."""
    headline = summary.headline
    basis = f"({_basis(summary)})"
    if headline.withheld:
        reason = headline.withheld.strip().rstrip(".")
        return Verdict("withheld", f"The headline is withheld: {reason}", "", "", basis)
    number = estimate(headline.difference, headline.ci_low, headline.ci_high)
    scale = f"on the {scale_of(summary)} scale"
    if headline.ci_low is None or headline.ci_high is None:
        return Verdict("none", "Features and neurons differ (no interval available) by", number, scale, basis)
    specific = summary.rubric.name == "specificity"
    if headline.ci_low > 0:
        claim = "Features are more specific than neurons by" if specific else "Features score higher than neurons by"
        return Verdict("higher", claim, number, scale, basis)
    if headline.ci_high < 0:
        claim = "Features are less specific than neurons:" if specific else "Features score lower than neurons:"
        return Verdict("lower", claim, number, scale, basis)
    return Verdict("none", "No difference between features and neurons is shown:", number, scale, basis)


def _basis(summary: Summary) -> str:
    headline = summary.headline
    unscored = sum(summary.unscored.values())
    parts = [
        f"{count(headline.n_features_scored)} of {count(headline.n_features)} features and"
        f" {count(headline.n_neurons_scored)} of {count(headline.n_neurons)} neurons scored",
        plural(unscored, "judgement") + " unscored",
    ]
    return ", ".join(parts) + "; " + judged_by(summary)


def judged_by(summary: Summary) -> str:
    """The judge, for captions: an LLM by its name, anything else by its name with the words "not an LLM"."""
    if summary.judge_is_llm:
        return f"judge {summary.judge}"
    return f"graded by the {baseline_name(summary.judge)}, not an LLM"


def not_llm(summary: Summary) -> list[str]:
    """A sentence for each role that was not an LLM's; empty when both were."""
    sentences = []
    if not summary.explainer_is_llm and not summary.judge_is_llm and summary.explainer == summary.judge:
        return [f"Explanations and grades are the work of the {baseline_name(summary.judge)}, not of an LLM."]
    if not summary.explainer_is_llm:
        sentences.append(f"The explanations were written by the {baseline_name(summary.explainer)}, not by an LLM.")
    if not summary.judge_is_llm:
        sentences.append(f"The grades were given by the {baseline_name(summary.judge)}, not by an LLM.")
    return sentences


def baseline_name(judge: str) -> str:
    """The name of a judge that is not an LLM, in a sentence."""
    return f"{judge} baseline" if "/" not in judge else f"{judge} judge"


def superiority(figures: Comparison) -> str:
    """P(feature > neuron) as a phrase, empty when it is not known."""
    value = figures.p_superior
    shown = estimate(value, figures.p_superior_ci_low, figures.p_superior_ci_high)
    return "" if value is None else f"P(feature > neuron) = {shown}"


def robustness(summary: Summary) -> list[str]:
    """The difference under other readings of missing scores, and whether the kinds fire equally often."""
    sentences = []
    bounds, zeroed, density = (
        summary.headline_bounds,
        summary.difference_if_unscored_units_are_zero,
        summary.density,
    )
    if bounds.low is not None and bounds.high is not None:
        sentences.append(
            f"If everything unscored had gone against the features, the difference would be {number(bounds.low)}; for them,"
            f" {number(bounds.high)}."
        )
    if zeroed is not None:
        sentences.append(
            f"With every unit that has no score, dead ones included, at the lowest grade it is {number(zeroed)}."
        )
    if density.ratio is not None:
        medians = f"{percent(density.feature)} of tokens for features, {percent(density.neuron)} for neurons"
        sentences.append(f"Median density of the scored units: {medians}.")
    return sentences


def fit(summary: Summary) -> str:
    """The dictionary's fit to the subject, or the reason to doubt it."""
    check = summary.check
    assert check is not None
    if check.said:
        return f"The check before the harvest found that the dictionary {check.said}."
    if check.variance_explained is None:
        return (
            f"The dictionary has {number(check.l0, 1)} active features per token; it writes to several layers, so nothing is"
            " reconstructed here."
        )
    text = f"The dictionary explains {number(check.variance_explained)} of the variance"
    if check.loss_recovered is not None:
        text += f" and recovers {number(check.loss_recovered)} of the subject's loss"
    active = f"{number(check.l0, 1)} active features per token"
    return f"{text}, with {active}, measured on {count(check.tokens)} tokens before the harvest."


def resemblance(summary: Summary) -> str:
    """The share of features that resemble no neuron, beside the paper's figure."""
    assert summary.studies is not None
    found = summary.studies.correlation
    if found.skipped or found.signed is None or found.absolute is None:
        return f"Features were not compared with the neurons before them: {found.skipped}."
    if found.signed.share is None:
        return "None of the sampled features fired on the tokens of this study."
    where = found.layers[0] if len(found.layers) == 1 else f"{found.layers[0]} to {found.layers[-1]}"
    features = plural(found.features, "sampled feature")
    return (
        f"For {percent(found.signed.share)} of {features} the most correlated neuron of {where} has a correlation of at most"
        f" {found.signed.at_most:g}; by absolute value for {percent(found.absolute.share)}. Scaling Monosemanticity found 82%"
        " for its dictionary of 1M features."
    )


class ShownVerdict(NamedTuple):
    """The judge's verdict with its words: a heading, and a mark for a list."""

    found: JudgeVerdict
    label: str
    mark: str


def judge_reliability(summary: Summary) -> ShownVerdict:
    """How far the judge can be relied on; of a summary without a verdict, by today's rules."""
    found = summary.belief or judge_verdict.of(summary)
    return ShownVerdict(found, *VERDICTS[found.verdict])


def corrected(summary: Summary) -> list[tuple[str, str, str]]:
    """The headline in other readings, as name, number and meaning; nothing where it is withheld."""
    evidence = summary.evidence
    if summary.headline.withheld or evidence is None:
        return []
    readings = []
    scaled = evidence.normalised
    if scaled and scaled.difference is not None:
        shown = estimate(scaled.difference, scaled.ci_low, scaled.ci_high)
        readings.append(("between floor and ceiling", shown, "0: another unit's explanation; 1: a true one"))
    if evidence.people and evidence.people.corrected.difference.value is not None:
        found = evidence.people.corrected.difference
        raters = plural(len(evidence.people.raters), "person", "people")
        shown = estimate(found.value, found.ci_low, found.ci_high)
        readings.append(("corrected by people's grades", shown, f"{plural(found.n_labels, 'label')} by {raters}"))
    if evidence.second and evidence.second.corrected.difference.value is not None:
        found = evidence.second.corrected.difference
        shown = estimate(found.value, found.ci_low, found.ci_high)
        meaning = f"{plural(found.n_labels, 'label')} by {evidence.second.judge}"
        readings.append(("corrected by the second judge's grades", shown, meaning))
    return readings


def cost(summary: Summary) -> str:
    """Dollars spent. An unknown price is called unknown, never 0."""
    usd, unknown = summary.cost_usd, summary.cost_unknown_calls
    if usd is None:
        return f"unknown ({plural(unknown, 'call')} without a price)" if unknown else "unknown"
    if unknown:
        return f"more than {dollars(usd)} ({plural(unknown, 'call')} without a price)"
    return dollars(usd)


def scale_of(summary: Summary) -> str:
    """The rubric's range, such as `0\u20133`."""
    grades = summary.rubric.grades
    return f"{grades[0]}\u2013{grades[-1]}"
