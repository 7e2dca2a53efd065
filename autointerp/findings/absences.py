"""The reasons of null values in `summary.json`: each stands in the part of the value, under `absent`.

Parts that have a field `why` give the reason there. For every other field that can be null, `RULES` holds the reason, or a function
of the summary and the part. A test checks that no nullable field is without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from autointerp.findings.evidence import Evidence, Normalised, People, PlantedUnits, RandomUnits
from autointerp.findings.inputs import (
    CorpusFacts,
    CorrelationShares,
    CorrelationStudy,
    DensityStudy,
    DictionaryFacts,
    Fit,
    Loss,
    NeuronMatch,
    RoundedSpecificity,
    RoundingStudy,
    RubricFacts,
    SubjectFacts,
)
from autointerp.findings.results import Controls, Densities, Headline, HeadlineBounds, ScorerResult, Weightings
from autointerp.findings.summary import Summary, Tokens
from autointerp.stats.comparison import MIN_FOR_INTERVAL
from autointerp.stats.estimates import Part

P = TypeVar("P", bound=Part)
Reason = str | Callable[[Summary, Any], str]

STATEMENTS = ("why", "p_superior_why", "withheld", "passed", "skipped", "belief", "bos_statement", "contents_statement")
"""Fields that are null if there is nothing to say, or that have the reason beside them in words."""

_NOT_RECORDED = "not recorded by the version that made the harvest"
_NO_BINS = "no activation bin has a grade in enough units of each kind"
_NO_RECONSTRUCTION = "the dictionary writes to several layers: no reconstruction was measured"
_NO_TOKEN = "no token was predicted"
_SILENT = "no sampled feature was active on these tokens"
_NOT_GIVEN = "not measured"
_NO_NEIGHBOURS = "controls.neighbours = 0"


def _withheld(summary: Summary, part: Headline) -> str:
    return f"the headline is withheld: {part.withheld}" if part.withheld else part.why or part.p_superior_why or ""


def _density(summary: Summary, part: Densities) -> str:
    none = [kind for kind in ("feature", "neuron") if getattr(part, kind) is None]
    return f"no {' and no '.join(none)} has a grade" if none else "the median neuron is never active"


def _cost(summary: Summary, part: Summary) -> str:
    return f"{part.cost_unknown_calls} calls have no price"


def _lost(summary: Summary, part: Summary) -> str:
    return "the price of a lost call is unknown" if part.lost_calls else "no call was lost"


def _normalised(summary: Summary, part: Normalised) -> str:
    if part.floor is None:
        return f"fewer than {MIN_FOR_INTERVAL} features, neurons, planted units or units with a shuffled explanation have a grade"
    if part.difference is None:
        return "the ceiling is not above the floor"
    return "the ceiling is not certain to be above the floor"


def _no_random(summary: Summary, part: RandomUnits) -> str:
    return "no unit is active often enough" if part.n_units else f"no unit could be made: {part.why}"


def _loss_recovered(summary: Summary, part: Fit) -> str:
    return "the loss was not measured" if part.loss is None else "zeroing the activations does not raise the loss"


def _rounded(summary: Summary, part: RoundedSpecificity) -> str:
    if not part.n_units:
        return "no activation above the share has a grade"
    return f"fewer than {MIN_FOR_INTERVAL} features with a grade, or all with the same"


RULES: Mapping[type[Part], Mapping[str, Reason]] = {
    Summary: {
        "difference_if_unscored_units_are_zero": _NO_BINS,
        "main_unscored_share": "nothing was judged",
        "evidence": _NOT_GIVEN,
        "check": _NOT_RECORDED,
        "studies": "studies.tokens = 0",
        "equal_rarity": _NOT_RECORDED,
        "distinction": _NO_NEIGHBOURS,
        "two_sided": "studies.two_sided = false",
        "graded_set": "no check of the judge on the graded set is on record",
        "harvest": _NOT_GIVEN,
        "cost_usd": _cost,
        "lost_usd_at_most": _lost,
        "stage_s": "the stage did not run in this version",
        "versions": "the package is not installed",
    },
    Headline: dict.fromkeys(
        (
            *("features_mean", "neurons_mean", "difference", "ci_low", "ci_high", "freedom"),
            *("p_superior", "p_superior_ci_low", "p_superior_ci_high"),
        ),
        _withheld,
    ),
    Controls: dict.fromkeys(("neighbour", "main_minus_neighbour"), _NO_NEIGHBOURS),
    HeadlineBounds: dict.fromkeys(("low", "high"), _NO_BINS),
    Weightings: {"top_bin": _NO_BINS},
    Densities: dict.fromkeys(("feature", "neuron", "ratio"), _density),
    ScorerResult: {"chance": "guessing has no fixed value: it depends on the unit"},
    Tokens: dict.fromkeys(("cache_write", "cache_read"), "not reported by the provider"),
    Evidence: {
        "planted": "controls.planted = 0",
        "normalised": "it needs planted units",
        "repeats": "no item was graded more than once",
        "random": "the spec asks for no units of random weights",
        "second": "the spec names no second judge",
        "people": "no person has graded a sample",
    },
    PlantedUnits: {"right": "neither hits nor misses have a grade"},
    Normalised: dict.fromkeys(
        ("floor", "ceiling", "features", "neurons", "difference", "ci_low", "ci_high"), _normalised
    ),
    RandomUnits: {"dead": _no_random, "density": _no_random},
    People: {"together": "only one person has graded"},
    SubjectFacts: dict.fromkeys(("n_tokens", "n_embeddings"), _NOT_RECORDED),
    DictionaryFacts: {
        **dict.fromkeys(("trained_with_bos", "trained_context"), "the dictionary's files do not state it"),
        "neuronpedia": "SAELens' registry names no page, or was not installed",
    },
    CorpusFacts: dict.fromkeys(("context_tokens", "bos", "contents"), _NOT_RECORDED),
    Loss: dict.fromkeys(("clean", "reconstructed", "zeroed"), _NO_TOKEN),
    Fit: {
        **dict.fromkeys(("variance_explained", "norm_ratio", "cosine"), _NO_RECONSTRUCTION),
        **dict.fromkeys(("l0", "dead_fraction"), "no token was measured"),
        "loss": "the activations cannot be replaced at this hook point",
        "loss_recovered": _loss_recovered,
    },
    DensityStudy: {"median": "all features are silent on these tokens"},
    CorrelationShares: dict.fromkeys(("share", "median"), _SILENT),
    CorrelationStudy: dict.fromkeys(("signed", "absolute"), lambda summary, part: part.skipped or _SILENT),
    RubricFacts: {"hash": _NOT_RECORDED},
    NeuronMatch: dict.fromkeys(("r", "r_absolute"), "the feature is silent on these tokens"),
    RoundedSpecificity: dict.fromkeys(("mean", "ci_low", "ci_high"), _rounded),
    RoundingStudy: {"variance_explained": _NO_RECONSTRUCTION},
}
"""The reason by part and field, for fields whose value, or one of whose values, can be null."""


def explained(summary: Summary) -> Summary:
    """The summary with the reason of every null value. Reasons that are there already are kept."""
    return _explained(summary, summary)


def _explained(part: P, summary: Summary) -> P:
    """The part and all parts in it, each with the reasons of its null values in `absent`."""
    changes: dict[str, Any] = {}
    reasons = dict(part.absent)
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name != "absent":
            if reason := _reason(part, name, value, summary):
                reasons.setdefault(name, reason)
            changed = _inside(value, summary)
            if changed is not value:
                changes[name] = changed
    if reasons != part.absent:
        changes["absent"] = reasons
    return part.model_copy(update=changes) if changes else part


def _reason(part: Part, name: str, value: Any, summary: Summary) -> str | None:
    rule = RULES.get(type(part), {}).get(name)
    if rule is None or not _has_null(value):
        return None
    return rule if isinstance(rule, str) else rule(summary, part)


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(each is None for each in value.values())
    return value is None or (isinstance(value, list) and None in value)


def _inside(value: Any, summary: Summary) -> Any:
    if isinstance(value, Part):
        return _explained(value, summary)
    if isinstance(value, list) and _any_part(value):
        return [_inside(each, summary) for each in value]
    if isinstance(value, dict) and _any_part(value.values()):
        return {key: _inside(each, summary) for key, each in value.items()}
    return value


def _any_part(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Part) for value in values)
