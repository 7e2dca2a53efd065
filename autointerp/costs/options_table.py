"""A plan's options as a table for the terminal, with what they rest on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from autointerp.costs.options import Option, Plan
from autointerp.questions import rounds
from autointerp.records import COMPARED
from autointerp.spec.providers import is_llm
from autointerp.spec.spec import Spec

WIDTH = 100
"""Characters in a line of notes."""


def lines(plan: Plan) -> Iterator[str]:
    """The table and what it rests on."""
    spec, best = plan.spec, plan.cheapest
    yield f"{spec.name}: {spec.judge.model} judges, {spec.explained_by.model} explains"
    yield ""
    yield f"{'per_bin':>10} {'per_call':>8} {'calls':>9} {'tokens':>13} {'dollars':>10}   {'+- unit':>7} {'+- bin':>7} {'+- difference':>13}"
    before = None
    for option in plan.options:
        name = f"adaptive {option.per_bin}" if option.adaptive else str(option.per_bin)
        w, first = option.widths, name != before
        run = "-" if w.run is None else f"{w.run:.2f}"
        widths = f"{w.unit:>7.2f} {w.bin:>7.2f} {run:>13}" if first else " " * 29
        tokens = f"{option.tokens:,}" if option.tokens else "-"
        usd = "-" if not option.tokens else "unknown" if option.usd is None else f"{option.usd:,.2f}"
        marks = ["the spec's"] * _is_spec(spec, option) + ["cheapest that meets [adaptive]"] * (option is best)
        yield (
            f"{name if first else '':>10} {option.per_call:>8} {option.calls:>9,} {tokens:>13} {usd:>10}   {widths}"
            f"{'  <- ' if marks else ''}{', '.join(marks)}"
        ).rstrip()
        before = name
    yield ""
    for note in _notes(plan):
        yield from textwrap.wrap(note, WIDTH)


def _is_spec(spec: Spec, option: Option) -> bool:
    alike = option.per_call == spec.score.per_call and option.adaptive == rounds.adaptive(spec)
    return alike and (option.adaptive or option.per_bin == spec.score.per_bin)


def _notes(plan: Plan) -> Iterator[str]:
    spec = plan.spec
    if plan.exact:
        yield "Counted from the harvest. A bin that filled its sample is assumed to hold more."
    else:
        yield "An upper bound: it assumes that every unit is alive and every bin is full. With --harvest the counts are exact; no judge is asked."
    f, n = (plan.spreads.of[kind] for kind in COMPARED)
    yield (
        f"+- columns: half-widths of {spec.report.confidence:.0%} intervals, in grades. They assume the standard deviations of grades in"
        f" {plan.spreads.source}: {f.within:.2f} within a feature's bin, {n.within:.2f} within a neuron's, {f.between:.2f} between features,"
        f" {n.between:.2f} between neurons."
    )
    yield "Tokens are estimated, for replies of the usual length; `autointerp run --dry-run` is more exact."
    if rounds.adaptive(spec):
        if plan.cheapest is None:
            yield "No option is expected to meet the targets of [adaptive]: sample more units, or set wider targets."
        yield "adaptive N: the average unit is expected to stop after N exemplars per bin, `score.per_bin` at most."
    if not is_llm(spec.judge.model):
        yield "The embedded judge is not an LLM: its questions cost nothing."
    if spec.cascade is not None:
        yield f"{spec.cascade.judge.model} grading {spec.cascade.share:.0%} of the items again is included."
    if spec.scorers:
        yield f"Questions of {', '.join(spec.scorers)} are not included."
