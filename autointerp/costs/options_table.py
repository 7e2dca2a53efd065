"""A plan's options as a table for the terminal, with what they rest on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from autointerp.costs.options import Option, Plan
from autointerp.questions import rounds
from autointerp.records import COMPARED
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
        yield "Counted from the harvest. Bins that hold all that was taken are believed to hold more."
    else:
        yield "At most: every unit alive and every bin full, which only the harvest tells (--harvest makes it, and asks no judge)."
    f, n = (plan.spreads.of[kind] for kind in COMPARED)
    yield (
        f"Half-widths of {spec.report.confidence:.0%} intervals, in grades, as grades spread in {plan.spreads.source}: within a bin by"
        f" {f.within:.2f} and {n.within:.2f}, between features by {f.between:.2f}, between neurons by {n.between:.2f}."
    )
    yield "Tokens by rule of thumb, replies of the usual length, no cache counted; `autointerp run --dry-run` counts better."
    if rounds.adaptive(spec):
        if plan.cheapest is None:
            yield "No option is expected to meet [adaptive]: take more units, or wider targets."
        yield "Adaptive: exemplars a bin at which the average unit is expected to stop, `score.per_bin` at most."
    if spec.judge.model == "embedded":
        yield "The embedded judge is no LLM: its calls are questions that cost nothing."
    if spec.cascade is not None:
        yield f"{spec.cascade.judge.model} grading {spec.cascade.share:.0%} again is among it."
    if spec.score.also:
        yield f"Questions of {', '.join(spec.score.also)} come on top."
