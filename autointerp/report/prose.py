"""What a summary says, in sentences: shared by the page, the text report and the index, so that they cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autointerp.findings import judge_verdict as _belief
from autointerp.formatting import count, dollars, estimate, number, people, percent, plural

Summary = Mapping[str, Any]

ARMS = {"main": "own explanation", "shuffled": "another unit's explanation", "base_rate": "silent windows"}
PLANTED = {"hits": "planted words, marked", "near": "a word beside them", "misses": "texts without them"}
KINDS = {
    "planted": "planted",
    "random_dictionary": "random dictionary",
    "random_subject": "random subject",
}
"""Units that are controls, never among features and neurons."""
RANDOM = ("random_dictionary", "random_subject")
BELIEF = {
    "believe": ("The judge can be believed", "judge believable"),
    "with_care": ("Take the judge with care", "judge: with care"),
    "do_not": ("Do not believe the judge", "judge not believable"),
}
CHECKS = {
    "planted": "Planted units",
    "floor": "Another unit's explanation",
    "base_rate": "Silent windows",
    "noise": "Repeats",
    "people": "People",
    "second": "A second judge",
    "unscored": "Unscored",
    "families": "Two families",
    "llm": "A language model",
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
    "gave_up": "work on it never ended",
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
    headline = summary["headline"]
    basis = f"({_basis(summary)})"
    if headline.get("withheld"):
        reason = str(headline["withheld"]).strip().rstrip(".")
        return Verdict("withheld", f"The headline is withheld: {reason}", "", "", basis)
    number = estimate(headline["difference"], headline["ci_low"], headline["ci_high"])
    scale = f"on the {scale_of(summary)} scale"
    if headline["ci_low"] is None or headline["ci_high"] is None:
        return Verdict("none", "Features and neurons differ, with no interval to be had, by", number, scale, basis)
    specific = summary["rubric"]["name"] == "specificity"
    if headline["ci_low"] > 0:
        claim = "Features are more specific than neurons by" if specific else "Features score higher than neurons by"
        return Verdict("higher", claim, number, scale, basis)
    if headline["ci_high"] < 0:
        claim = "Features are less specific than neurons:" if specific else "Features score lower than neurons:"
        return Verdict("lower", claim, number, scale, basis)
    return Verdict("none", "No difference between features and neurons is shown:", number, scale, basis)


def _basis(summary: Summary) -> str:
    headline = summary["headline"]
    unscored = sum(summary["unscored"].values())
    parts = [
        f"{count(headline.get('n_features_scored'))} of {count(headline.get('n_features'))} features and"
        f" {count(headline.get('n_neurons_scored'))} of {count(headline.get('n_neurons'))} neurons scored",
        plural(unscored, "judgement") + " unscored",
    ]
    return ", ".join(parts) + "; " + judged_by(summary)


def judged_by(summary: Summary) -> str:
    """Who graded, for captions: an LLM by its name, anything else by name and as what it is not."""
    if summary["judge_is_llm"]:
        return f"judge {summary['judge']}"
    return f"graded by the {baseline_name(summary['judge'])}, not an LLM"


def not_llm(summary: Summary) -> list[str]:
    """What was not an LLM, one sentence each; empty when both roles were."""
    said = []
    if not summary["explainer_is_llm"] and not summary["judge_is_llm"] and summary["explainer"] == summary["judge"]:
        return [f"Explanations and grades are the work of the {baseline_name(summary['judge'])}, not of an LLM."]
    if not summary["explainer_is_llm"]:
        said.append(f"The explanations were written by the {baseline_name(summary['explainer'])}, not by an LLM.")
    if not summary["judge_is_llm"]:
        said.append(f"The grades were given by the {baseline_name(summary['judge'])}, not by an LLM.")
    return said


def baseline_name(judge: str) -> str:
    """How a judge that is not an LLM is called in a sentence."""
    return f"{judge} baseline" if "/" not in judge else f"{judge} judge"


def superiority(numbers: Mapping[str, Any]) -> str:
    """P(feature > neuron) as a phrase, empty when it is not known."""
    value = numbers.get("p_superior")
    shown = estimate(value, numbers.get("p_superior_ci_low"), numbers.get("p_superior_ci_high"))
    return "" if value is None else f"P(feature > neuron) = {shown}"


def robustness(summary: Summary) -> list[str]:
    """What the difference would be under other readings of what is missing, and whether the kinds fire equally often."""
    said = []
    bounds = summary.get("headline_bounds") or {}
    if bounds.get("low") is not None and bounds.get("high") is not None:
        low, high = number(bounds["low"]), number(bounds["high"])
        said.append(
            f"Had everything unscored gone against the features, the difference would be {low}; for them, {high}."
        )
    zeroed = summary.get("difference_if_unscored_units_are_zero")
    if zeroed is not None:
        said.append(
            f"With every unit that has no score, dead ones included, at the lowest grade it is {number(zeroed)}."
        )
    density = summary.get("density") or {}
    if density.get("ratio") is not None:
        medians = f"{percent(density['feature'])} of tokens for features, {percent(density['neuron'])} for neurons"
        said.append(f"Median density of the scored units: {medians}.")
    return said


def checked(summary: Summary) -> str:
    """What the dictionary explains of the subject, or why that is in doubt."""
    check = summary["check"]
    if check["said"]:
        return f"Before the harvest it was found that the dictionary {check['said']}."
    if check["variance_explained"] is None:
        return f"The dictionary has {number(check['l0'], 1)} features active a token; what it writes goes to several layers, so that nothing is reconstructed here."
    said = f"The dictionary explains {number(check['variance_explained'])} of the variance"
    if check["loss_recovered"] is not None:
        said += f" and recovers {number(check['loss_recovered'])} of the subject's loss"
    active = f"{number(check['l0'], 1)} features active a token"
    return f"{said}, with {active}, measured on {count(check['tokens'])} tokens before the harvest."


def resemblance(summary: Summary) -> str:
    """For how many features no neuron is like them, beside what the paper has."""
    found = summary["studies"]["correlation"]
    if "skipped" in found:
        return f"Features were not compared with the neurons before them: {found['skipped']}."
    signed, absolute, layers = found["signed"], found["absolute"], found["layers"]
    if signed["share"] is None:
        return "None of the sampled features fired on the tokens of this study."
    where = layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
    features = plural(found["features"], "sampled feature")
    return (
        f"For {percent(signed['share'])} of {features} the most correlated neuron of {where} has a correlation of at most"
        f" {signed['at_most']:g}; by absolute value for {percent(absolute['share'])}. Scaling Monosemanticity found 82% for its"
        " dictionary of 1M features."
    )


def belief(summary: Summary) -> dict[str, Any]:
    """Whether the judge can be believed: `verdict`, `sentence`, `checks`, and the verdict as a `label` and a `mark` for a list."""
    found = summary.get("belief") or _belief.of(summary)
    label, mark = BELIEF[found["verdict"]]
    return {**found, "label": label, "mark": mark}


def corrected(summary: Summary) -> list[tuple[str, str, str]]:
    """The headline in other readings, as name, number and what it means; nothing where it is withheld."""
    if summary["headline"].get("withheld"):
        return []
    evidence, said = summary.get("evidence") or {}, []
    scaled = evidence.get("normalised") or {}
    if scaled.get("difference") is not None:
        shown = estimate(scaled["difference"], scaled["ci_low"], scaled["ci_high"])
        said.append(("between floor and ceiling", shown, "0: another unit's explanation; 1: a true one"))
    for key, name in (("people", "by people's grades"), ("second", "by the second judge's grades")):
        found = ((evidence.get(key) or {}).get("corrected") or {}).get("difference") or {}
        if found.get("value") is not None:
            shown = estimate(found["value"], found["ci_low"], found["ci_high"])
            labels = plural(found["n_labels"], "label")
            who = (
                f"{labels} of {people(len(evidence[key]['raters']))}"
                if key == "people"
                else f"{labels} by {evidence[key]['judge']}"
            )
            said.append((f"corrected {name}", shown, who))
    return said


def cost(summary: Summary) -> str:
    """Dollars spent; an unknown price is said to be unknown, never 0."""
    usd, unknown = summary["cost_usd"], summary.get("cost_unknown_calls") or 0
    if usd is None:
        return f"unknown ({plural(unknown, 'call')} without a price)" if unknown else "unknown"
    if unknown:
        return f"more than {dollars(usd)} ({plural(unknown, 'call')} without a price)"
    return dollars(usd)


def scale_of(summary: Summary) -> str:
    """The rubric's range, such as `0\u20133`."""
    grades = grades_of(summary)
    return f"{grades[0]}\u2013{grades[-1]}"


def grades_of(summary: Summary) -> list[int]:
    """The rubric's grades, ascending."""
    return sorted(int(level["grade"]) for level in summary["rubric"]["levels"])
