"""What completeness says in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from autointerp.formatting import percent, plural, scientific
from autointerp.studies.completeness.curves import RESCALED, WAYS, NamedCurve

_FEW = 20
"""Concepts below which a curve is called rough."""


def sentences(
    found: pd.DataFrame, nouns: Mapping[str, str], curves: Sequence[NamedCurve], top: int, others: int, rate: float
) -> Iterator[str]:
    """The shares found, then the curves, then the rule."""
    for name, part in found.groupby("dictionary", sort=False):
        shares = []
        for family, rows in part.groupby("list", sort=False):
            n, of = int(rows["found"].sum()), int(rows["found"].count())
            shares.append(f"{n} of {plural(of, 'concept')} of {family} ({percent(n / max(1, of))})")
        yield f"{name} has a specific feature for {', '.join(shares)}, by activation."
        judged = part["judged"].dropna()
        if len(judged):
            yield (
                f"{name}: the judge finds {int(judged.sum())} of the {plural(len(judged), 'concept')} of which it could tell,"
                " by the features' explanations."
            )
    for curve in curves:
        yield _curve_sentence(curve)
    yield (
        f"A concept is found by activation if one of its {top} most active features, by the mean over the templates at the concept's last"
        f" token, is active in more than half of the templates, and fires on the concept, on at most {others} others of the list, and on at"
        f" most {percent(rate)} of the text's tokens; it fires where it reaches half of its largest mean activation over the list."
    )


def _curve_sentence(named: NamedCurve) -> str:
    curve = named.curve
    subject = "All dictionaries together" if named.name == RESCALED else named.name
    by = f"{subject}, by {WAYS[named.way]}"
    if curve.n == 0:
        return f"{by}: no curve, because the text contains none of the unambiguous names."
    if curve.midpoint is None:
        reason = {
            "all_present": f"all {curve.n} concepts that the text contains are present",
            "all_absent": f"none of the {curve.n} concepts that the text contains is present",
        }.get(curve.shape, f"presence does not rise with frequency over {plural(curve.n, 'concept')}")
        limits = _limits(named)
        return f"{by}: {reason}, so the frequency at which half are present {limits}."
    limits = _interval(named.times_alive(curve.low), named.times_alive(curve.high))
    times = f"{_number(named.times_alive(curve.midpoint))} {limits}"
    if named.alive is None:
        return (
            f"{by}: half of the concepts are present at {times} times 1/(alive features), with intervals over concepts."
        )
    limits = _interval(named.power(curve.low), named.power(curve.high), scientific)
    own = f"{scientific(named.power(curve.midpoint))} {limits}"
    apart = " One frequency separates them exactly, so only the interval counts." if curve.shape == "separated" else ""
    return (
        f"{by}: half of the concepts are present at a frequency of {own} per token, which is {times} times 1/(alive features), with"
        f" {plural(named.alive, 'alive feature')} and {plural(curve.n, 'concept')}.{apart}"
    )


def _limits(named: NamedCurve) -> str:
    low, high = named.power(named.curve.low), named.power(named.curve.high)
    unit = " times 1/(alive features)" if named.alive is None else ""
    if low is None and high is None:
        return "is not limited on either side"
    if low is None:
        return f"is below {scientific(high)}{unit} (95%)"
    if high is None:
        return f"is above {scientific(low)}{unit} (95%)"
    return f"lies between {scientific(low)} and {scientific(high)}{unit} (95%)"


def _number(value: float | None) -> str:
    return "open" if value is None else f"{value:.2g}" if 0.01 <= value < 1000 else scientific(value)


def _interval(low: float | None, high: float | None, write: Callable[[float | None], str] | None = None) -> str:
    """The interval with `open` for an end that is not limited."""
    ends = ["open" if end is None else (write or _number)(end) for end in (low, high)]
    return f"[{ends[0]}, {ends[1]}]"


def cautions(found: pd.DataFrame, curves: Sequence[NamedCurve], n_tokens: int, corpus_tokens: int) -> Iterator[str]:
    """What limits the curves."""
    one = found[found["dictionary"] == found["dictionary"].iloc[0]]
    absent, ambiguous = int((one["count"] == 0).sum()), one[one["ambiguous"] & (one["count"] > 0)]
    used = curves[0].curve.n if curves else 0
    if unread := int(one["found"].isna().sum()):
        yield (
            f"{plural(unread, 'concept')} could not be looked for: the last token has a massive norm in every template and does not count."
        )
    if absent:
        yield (
            f"{absent} of {plural(len(one), 'concept')} do not occur in the {corpus_tokens:,} tokens of text between spaces and are not part of"
            f" the curve: a longer --corpus has more of them."
        )
    if len(ambiguous):
        most = ambiguous.sort_values("count", ascending=False, kind="stable")["concept"].head(5)
        yield (
            f"{plural(len(ambiguous), 'name')} with another common meaning ({', '.join(most)}) are not part of the curve: their counts"
            " contain false hits. Counts of the others may contain some."
        )
    if 0 < used < _FEW:
        yield f"The curve rests on {plural(used, 'concept')}: read its interval."
    yield (
        f"Alive features are those that fire on {n_tokens:,} tokens; the paper's are those that fire on 10 million. Features that are rarer"
        " are missing in 1/(alive features)."
    )
