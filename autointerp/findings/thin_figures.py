"""Figures that cover only a small part of a kind's units: they are those of a few selected units, and not of the kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from autointerp.findings.results import ScorerFigure
from autointerp.findings.summary import Summary
from autointerp.records import COMPARED

LEAST_SHARE = 0.1
"""A figure over a smaller share of a kind's sampled units is not compared without saying so beside it."""


class Thin(NamedTuple):
    """A kind of which a figure covers `n` of `sampled` units."""

    kind: str
    n: int
    sampled: int

    def __str__(self) -> str:
        return f"only {self.n} of {self.sampled} {self.kind}s"


def thin_kinds(summary: Summary, figure: ScorerFigure) -> list[Thin]:
    """The compared kinds of which the figure covers fewer than `LEAST_SHARE` of the sampled units; none if it compares nothing."""
    if figure.difference is None:
        return []
    covered = [
        Thin(kind, getattr(figure, kind).n, summary.denominator[kind].sampled)
        for kind in COMPARED
        if kind in summary.denominator
    ]
    return [kind for kind in covered if kind.n < LEAST_SHARE * kind.sampled]


def thin_figures(summary: Summary) -> Iterator[tuple[str, list[Thin]]]:
    """The evaluations whose main figure is thin, with the kinds of which it covers few units."""
    for scorer in summary.scorers:
        if scorer.figures and (kinds := thin_kinds(summary, scorer.figures[0])):
            yield scorer.scorer, kinds
