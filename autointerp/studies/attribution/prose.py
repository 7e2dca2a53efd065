"""The sentences of an attribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from autointerp.formatting import count, number, plural
from autointerp.studies.attribution.agreement import Agreement
from autointerp.studies.attribution.interchange import Interchange
from autointerp.studies.attribution.tables import Names
from sae.studies.attribution.circuit import ERROR, FIRST, Circuit
from sae.studies.attribution.gradients import Totals


def sentences(
    target: str,
    against: str | None,
    names: Names,
    totals: Totals,
    agreements: Sequence[Agreement],
    circuit: Circuit,
    interchange: Interchange | None,
) -> Iterator[str]:
    """The answer first: the difference, each dictionary's attribution against ablation, the graph and its grade."""
    other = "the mean logit" if against is None else f"that of {against!r}"
    yield f"The logit of {target!r} is {number(totals.value, signed=True)} relative to {other}."
    for of_number, agreement in enumerate(agreements):
        yield from _dictionary(names, totals, agreement, of_number)
    yield from _graph(circuit, interchange, totals)


def _dictionary(names: Names, totals: Totals, agreement: Agreement, of_number: int) -> Iterator[str]:
    active, gradient = totals.active[of_number], totals.gradients[of_number]
    of_pairs, of_errors = active.dot(gradient)
    features, errors = float(of_pairs[active.position >= FIRST].sum()), float(of_errors[FIRST:].sum())
    yield (
        f"{names.studied[of_number].name}: {plural(agreement.active, 'pair')} of a feature and a position after the first token"
        f" {'is' if agreement.active == 1 else 'are'} active; attributions sum to {number(features, signed=True)} over features and"
        f" {number(errors, signed=True)} over the dictionary's errors."
    )
    if not agreement.ablated:
        return
    which = (
        "all of them"
        if agreement.ablated == agreement.active
        else f"{count(agreement.ablated)} of them, half chosen by attribution and half by activation"
    )
    yield (
        f"Over {which}, the effect of ablation correlates with attribution by {number(agreement.attribution_ablation)} and with"
        f" activation by {number(agreement.activation_ablation)}; by ranks, with attribution by {number(agreement.ranks)}. Of the {agreement.top} with the largest effects,"
        f" {agreement.top_attribution} are among the {agreement.top} largest by attribution and {agreement.top_activation} by"
        " activation."
    )


def cautions(names: Names, agreements: Sequence[Agreement]) -> Iterator[str]:
    """Correlations that one pair decides."""
    for studied, agreement in zip(names.studied, agreements, strict=True):
        if agreement.is_decided_by_one:
            yield (
                f"{studied.name}: one pair decides the correlation of attribution with ablation,"
                f" {number(agreement.attribution_ablation)}: without {agreement.outlier} it is {number(agreement.without_outlier)}."
                " Attribution is a linear estimate, and silencing a feature that makes up much of its token's vector is no small step."
            )


def _graph(circuit: Circuit, interchange: Interchange | None, totals: Totals) -> Iterator[str]:
    errors = sum(node.feature == ERROR for node in circuit.nodes)
    yield (
        f"The graph has {plural(len(circuit.nodes) - errors, 'feature')}, {plural(errors, 'error')} and"
        f" {plural(len(circuit.edges), 'edge')}."
    )
    if interchange is None:
        yield "It has no grade: too few other features are active to draw random groups from."
        return
    low, high = interchange.interval
    yield (
        f"With its {plural(interchange.size, 'supporting feature')} silent, the difference of {number(totals.value, signed=True)} falls"
        f" by {number(interchange.effect)}; with a random group of as many silent, by {number(fmean(interchange.random))} on average"
        f" (95% of {len(interchange.random)} groups: {number(low)} to {number(high)})."
    )
