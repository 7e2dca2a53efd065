"""Results of the other evaluations and effects of explainer aids: a figure and tables."""

from __future__ import annotations

from autointerp.findings.results import ScorerFigure, ScorerResult
from autointerp.findings.summary import Summary
from autointerp.findings.thin_figures import thin_kinds
from autointerp.formatting import count, number
from autointerp.records import COMPARED
from autointerp.report import cells, prose
from autointerp.report.figures import svg
from autointerp.report.tables import Table
from autointerp.stats.estimates import MeanEstimate

KINDS = (*COMPARED, "planted")
NOUNS = {"feature": "features", "neuron": "neurons", "planted": "planted"}


def scorers_figure(summary: Summary, *, width: float) -> str:
    """The main metric of every evaluation for features, neurons and planted units on one axis, with a dotted line at chance level.

    Empty if there were no other evaluations.
    """
    rows = [(scorer, scorer.figures[0]) for scorer in summary.scorers if scorer.figures]
    if not rows:
        return ""
    roomy = width >= 600
    left, right, each, top = (208.0, 24.0, 44.0, 10.0) if roomy else (20.0, 20.0, 60.0, 14.0)
    edges = [edge for scorer, figure in rows for edge in _axis_values(scorer, figure)]
    axis = [0.25 * i for i in range(round(4 * _down(min([0.0, *edges]))), round(4 * _up(max([1.0, *edges]))) + 1)]
    ticks = axis if len(axis) <= 9 else axis[:: len(axis) // 6]
    x = svg.linear((axis[0], axis[-1]), (left, width - right))
    floor = top + each * len(rows)
    parts = []
    for tick in ticks:
        parts.append(svg.line(x(tick), top - 4, x(tick), floor, "grid"))
        parts.append(svg.text(x(tick), floor + 15, number(tick), text_anchor="middle"))
    for place, (scorer, figure) in enumerate(rows):
        middle = top + each * (place + 0.5) + (0 if roomy else 8)
        parts.append(_label(scorer.scorer, figure.figure, left, middle, roomy))
        if scorer.chance is not None:
            parts.append(svg.line(x(scorer.chance), middle - 15, x(scorer.chance), middle + 15, "floor"))
        for kind, shift in zip(KINDS, (-10.0, 0.0, 10.0), strict=True):
            parts.append(_mark(getattr(figure, kind), kind, scorer.scorer, x, middle + shift))
    label = "Main metric of every other evaluation, by kind of unit"
    return svg.figure(width, floor + 22, "".join(parts), label)


def metrics(summary: Summary) -> Table | None:
    """Every metric of every evaluation; None if there were no other evaluations."""
    rows = []
    for scorer in summary.scorers:
        for place, figure in enumerate(scorer.figures):
            rows.append(
                (
                    f"{scorer.scorer}: {figure.figure.replace('_', ' ')}",
                    *(cells.interval(getattr(figure, kind)) for kind in KINDS),
                    _difference(summary, figure),
                    cells.BESIDE if figure.p_superior is None else number(figure.p_superior),
                    cells.value(scorer, "chance") if place == 0 else "",
                    ", ".join(f"{count(getattr(figure, kind).n)} {noun}" for kind, noun in NOUNS.items()),
                    cells.counted(figure.undefined, figure.undefined_why),
                )
            )
    header = (
        *("evaluation", "features", "neurons", "planted", "difference", "P(feature > neuron)", "chance level"),
        *("units with a value", "units without one"),
    )
    return Table("Other evaluations", header, tuple(rows)) if rows else None


def answers(summary: Summary) -> Table | None:
    """The number of answers behind each evaluation, and the reasons for unusable ones."""
    rows = [
        (
            scorer.scorer,
            count(scorer.n),
            count(scorer.n_unscored),
            _reasons(scorer),
            "yes" if scorer.needs_explanation else "no",
        )
        for scorer in summary.scorers
    ]
    header = ("evaluation", "answers", "unscored", "reasons", "needs an explanation")
    return Table("Answers behind the metrics", header, tuple(rows)) if rows else None


def _reasons(scorer: ScorerResult) -> str:
    """Why answers are unscored; if there are no answers at all, why nothing was asked."""
    if scorer.n or scorer.n_unscored or not scorer.figures:
        unscored = sorted(scorer.unscored.items())
        return ", ".join(f"{prose.OUTCOMES.get(why, why)}: {count(n)}" for why, n in unscored) or "none"
    return "nothing was asked: " + ("; ".join(sorted(scorer.figures[0].undefined_why)) or "no unit to evaluate")


def definitions(summary: Summary) -> list[tuple[str, str]]:
    """The definition and source of each evaluation's metrics, as (evaluation, text) pairs."""
    return [
        (
            scorer.scorer,
            "; ".join(f"{f.figure.replace('_', ' ')}: {f.meaning}" for f in scorer.figures) + f". {scorer.source}.",
        )
        for scorer in summary.scorers
    ]


def aid_effects(summary: Summary) -> Table | None:
    """The effect of each explainer aid, on the same exemplars; None if none was compared."""
    rows = []
    for aid, effects in summary.variants.items():
        for effect, shown in (
            (effects.all, "all units"),
            (effects.feature, "features"),
            (effects.neuron, "neurons"),
        ):
            rows.append(
                (
                    f"{prose.AIDS.get(aid, aid)}, {shown}",
                    cells.BESIDE if effect.without is None else number(effect.without),
                    cells.BESIDE if effect.with_aid is None else number(effect.with_aid),
                    cells.interval(effect, "difference"),
                    count(effect.n_units),
                    count(effects.n_unscored) if effect is effects.all else "",
                )
            )
    header = ("aid", "mean grade without", "mean grade with", "difference", "units", "unscored")
    return Table("Explanations with and without an aid", header, tuple(rows)) if rows else None


def _difference(summary: Summary, figure: ScorerFigure) -> str:
    """The difference with its interval, and the kinds of which it covers hardly any units."""
    if any(getattr(figure, kind).mean is None for kind in COMPARED):
        return cells.BESIDE
    shown = cells.interval(figure, "difference")
    return f"{shown} ({', '.join(map(str, thin))})" if (thin := thin_kinds(summary, figure)) else shown


def _axis_values(scorer: ScorerResult, figure: ScorerFigure) -> list[float]:
    values = [getattr(getattr(figure, kind), key) for kind in KINDS for key in ("mean", "ci_low", "ci_high")]
    return [value for value in [*values, scorer.chance] if value is not None]


def _down(value: float) -> float:
    """The value rounded down to a quarter."""
    return float(value // 0.25 * 0.25)


def _up(value: float) -> float:
    """The value rounded up to a quarter."""
    return float(-(-value // 0.25) * 0.25)


def _label(scorer: str, figure: str, left: float, middle: float, roomy: bool) -> str:
    shown = figure.replace("_", " ")
    if roomy:
        return svg.text(left - 24, middle - 2, scorer, text_anchor="end", class_="strong") + svg.text(
            left - 24, middle + 12, shown, text_anchor="end"
        )
    return svg.text(left, middle - 20, f"{scorer}, {shown}", class_="strong halo")


def _mark(mean: MeanEstimate, kind: str, scorer: str, x: svg.Scale, at: float) -> str:
    if mean.mean is None:
        return ""
    style = kind if kind != "planted" else "second"
    marks = svg.hint(f"{scorer}, {kind}s: {cells.interval(mean)}")
    if mean.ci_low is not None and mean.ci_high is not None:
        marks += svg.line(x(mean.ci_low), at, x(mean.ci_high), at, f"{style} line")
    drawn = svg.square(x(mean.mean), at) if kind == "planted" else svg.dot(x(mean.mean), at, kind)
    return svg.tag("g", marks, drawn)
