"""The sentences of a comparison."""

from __future__ import annotations

from autointerp.comparisons.comparison import Comparison, Pair, Result
from autointerp.comparisons.pairing import Pairing
from autointerp.formatting import estimate, number, percent, plural
from autointerp.records import COMPARED
from autointerp.report.prose import judged_by
from autointerp.stats.two_way import POWER

SHARED: dict[Pairing, str] = {
    "exemplars": "the same units on the same exemplars",
    "units": "the same units on other exemplars",
    "texts": "other units on the same texts",
    "nothing": "other units on other texts",
}
MOST_TITLES = 3
"""A comparison of more pairs has one title that counts them."""
UNEQUAL_SHARES = 0.05
"""Shares of unscored exemplars that differ by more than this are pointed out."""


def verdict(pair: Pair) -> str:
    """Which side is better, by which measure and how much."""
    result = pair.result
    shown = f"{result.title} {estimate(result.difference, result.ci_low, result.ci_high, signed=True)}"
    if result.verdict == "cannot be told":
        return f"Whether {pair.b} is better than {pair.a} cannot be told: {shown}"
    return f"{pair.b} is {result.verdict} than {pair.a}: {shown}"


def titles(comparison: Comparison) -> list[tuple[str, str]]:
    """The first lines of a comparison with their tones: the verdict on each pair, or how many of many pairs can be told apart."""
    pairs = comparison.pairs
    if pairs and len(pairs) <= MOST_TITLES:
        return [(verdict(pair), pair.result.verdict.replace(" ", "-")) for pair in pairs]
    told = sum(pair.result.verdict != "cannot be told" for pair in pairs)
    runs = plural(len(comparison.sides), "run")
    said = (
        f"{told} of {plural(len(pairs), 'difference')} between {runs} can be told" if pairs else f"{runs}, and no pair"
    )
    return [(said, "cannot-be-told")]


def paired(pair: Pair) -> str:
    """What the two sides share."""
    by_kind = {kind: SHARED[pair.pairing[kind]] for kind in COMPARED}
    if len(set(by_kind.values())) == 1:
        return f"Compared on {by_kind['feature']}."
    return "Compared on " + ", ".join(f"{shared} ({kind}s)" for kind, shared in by_kind.items()) + "."


def notes(pair: Pair) -> list[str]:
    """What has to be known with a verdict, most important first."""
    result, said = pair.result, [f"They differ in {' and '.join(pair.differ)}." if pair.differ else _NO_DIFFERENCE]
    said.append(paired(pair))
    if "nothing" in pair.pairing.values():
        said.append(
            "The runs share neither units nor texts, so they are compared as independent samples: only large differences can be told."
        )
    if result.measure == "shuffled":
        said.append(
            "A lenient judge and a broad explanation earn high grades everywhere, so the verdict rests on the own explanation minus"
            " another unit's, and not on the grade."
        )
    said += _contradictions(pair)
    if result.smallest is not None:
        said.append(
            f"A true difference of {number(result.smallest)} would have been found with a probability of {percent(POWER)}."
        )
    elif result.why:
        said.append(f"{result.title}: {result.why}.")
    said += _left_out(pair) + _unscored(pair) + _retraining(pair)
    return said


def cautions(comparison: Comparison) -> list[str]:
    """A sentence for each cell without a result, pair left out, judge that is not an LLM, and headline that is withheld."""
    said = [f"{entry.name}: no result: {entry.reason}" for entry in comparison.entries if entry.run is None]
    said += [f"Not compared: {why}" for why in comparison.not_compared]
    for run in (run for side in comparison.sides for run in side.runs):
        if not run.summary.judge_is_llm:
            said.append(f"{run.run_id}: {judged_by(run.summary)}.")
        if run.summary.headline.withheld:
            said.append(f"{run.run_id}: its own headline is withheld: {run.summary.headline.withheld}.")
    return said


_NO_DIFFERENCE = "Their specs, inputs and judges are the same."


def _contradictions(pair: Pair) -> list[str]:
    """Measures with the opposite verdict."""
    opposite = {"better": "worse", "worse": "better"}.get(pair.result.verdict)
    found = [result for result in pair.results if result.verdict == opposite]
    return [f"By another measure it is {opposite}: {_shown(result)}." for result in found]


def _shown(result: Result) -> str:
    return f"{result.title} {estimate(result.difference, result.ci_low, result.ci_high, signed=True)}"


def _left_out(pair: Pair) -> list[str]:
    said = []
    for kind in COMPARED:
        only, dropped = (pair.only_a[kind], pair.only_b[kind]), (pair.dropped_a[kind], pair.dropped_b[kind])
        if any(only):
            said.append(f"Left out: {_each(only, kind, pair)}, which the other has no grade for.")
        if any(dropped):
            said.append(f"Left out: {_each(dropped, f'exemplar of {kind}s', pair)}, which the other has no grade for.")
    return said


def _each(counts: tuple[int, int], noun: str, pair: Pair) -> str:
    nouns = noun.replace("exemplar ", "exemplars ") if noun.startswith("exemplar") else f"{noun}s"
    parts = [f"{plural(n, noun, nouns)} of {name}" for n, name in zip(counts, (pair.a, pair.b), strict=True) if n]
    return " and ".join(parts)


def _unscored(pair: Pair) -> list[str]:
    if pair.if_unscored is None:
        return []
    low, high = (number(value, signed=True) for value in pair.if_unscored)
    shares = (
        f"{percent(pair.unscored_a)} of {pair.a}'s exemplars and {percent(pair.unscored_b)} of {pair.b}'s have no grade"
    )
    said = f"{shares}: whatever these grades were, the mean grades of features would differ by {low} to {high}"
    if abs(pair.unscored_a - pair.unscored_b) > UNEQUAL_SHARES:
        return [f"Unequal shares are missing. {said}."]
    return [f"{said}."]


def _retraining(pair: Pair) -> list[str]:
    noise = pair.retraining
    if noise is None:
        if "dictionary" in pair.differ:
            return [
                "The noise of retraining is unknown: join runs over dictionaries of other seeds with commas to measure it."
            ]
        return []
    interval = estimate(noise.difference, noise.ci_low, noise.ci_high, signed=True)
    told = {"better": "better", "worse": "worse"}.get(noise.verdict, "not told apart")
    return [
        f"Noise of retraining: the mean grade of features has a standard deviation of {number(noise.deviation)} between trainings"
        f" with other seeds ({plural(noise.n_runs, 'run')}); two dictionaries of the same recipe differ by up to {number(noise.smallest)}."
        f" With it, the recipes differ by {interval}: {told}."
    ]
