"""Figures of the dictionary's studies: density, L0, correlation with neurons, and the effect of rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from autointerp import formatting
from autointerp.findings.inputs import CorrelationShares, DensityStudy, L0Study, RoundedSpecificity
from autointerp.findings.summary import Summary
from autointerp.report.figures import svg

_WIDTH, _HEIGHT = 400.0, 216.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 24.0, 38.0


def panels(summary: Summary) -> dict[str, str]:
    """The histograms by name: `density`, `l0`, and, if features were compared with neurons, `signed` and `absolute`."""
    studies = summary.studies
    assert studies is not None
    drawn = {"density": _density(studies.density), "l0": _l0(studies.l0)}
    correlation = studies.correlation
    for name, shares in (("signed", correlation.signed), ("absolute", correlation.absolute)):
        if shares is not None:
            drawn[name] = _correlation(correlation.edges, shares, name)
    return drawn


def _density(density: DensityStudy) -> str:
    edges, counts = density.log10_edges, density.counts
    ticks = [edge for edge in edges if float(edge).is_integer()]
    return _histogram(
        "Features by density",
        "share of tokens at which active",
        edges,
        counts,
        ticks,
        _power,
        lambda low, high, n: f"{10**low:.2g} to {10**high:.2g} of tokens: {formatting.plural(n, 'feature')}",
    )


def _l0(l0: L0Study) -> str:
    edges = l0.edges
    ticks = [tick for tick in svg.round_ticks(edges[-1]) if tick <= edges[-1]]
    return _histogram(
        "Tokens by features active (L0)",
        "features active on a token",
        edges,
        l0.shares,
        ticks,
        lambda tick: f"{tick:,.0f}",
        lambda low, high, share: f"{low:,} to {high - 1:,} active: {formatting.percent(share)} of tokens",
        shares=True,
    )


def _correlation(edges: Sequence[float], shares: CorrelationShares, name: str) -> str:
    measure = "correlation" if name == "signed" else "absolute correlation"
    return _histogram(
        f"Features by highest {measure} with a neuron",
        measure,
        edges,
        shares.counts,
        [0, 0.2, 0.4, 0.6, 0.8, 1],
        lambda tick: f"{tick:g}",
        lambda low, high, n: f"{low:g} to {high:g}: {formatting.plural(n, 'feature')}",
        limit=shares.at_most,
    )


def _histogram(
    title: str,
    axis: str,
    edges: Sequence[float],
    values: Sequence[float],
    ticks: Sequence[float],
    tick_label: Callable[[float], str],
    hint: Callable[[Any, Any, Any], str],
    *,
    shares: bool = False,
    limit: float | None = None,
) -> str:
    """Bars between `edges`. `hint` makes a bar's tooltip from its edges and value; `limit` is where a vertical line is drawn."""
    tallest = max(values, default=0)
    heights = _share_ticks(tallest) if shares else svg.round_ticks(tallest)
    x = svg.linear((edges[0], edges[-1]), (_LEFT, _WIDTH - _RIGHT))
    y = svg.linear((0, heights[-1]), (_HEIGHT - _BOTTOM, _TOP))
    parts = [svg.text(_LEFT, 13, title, class_="strong")]
    for tick in heights:
        parts.append(svg.line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), "grid"))
        label = formatting.percent(tick) if shares else f"{tick:,.0f}" if float(tick).is_integer() else f"{tick:g}"
        parts.append(svg.text(_LEFT - 6, y(tick) + 4, label, text_anchor="end"))
    for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
        if value:
            left, width = x(low) + 0.5, max(1.0, x(high) - x(low) - 1)
            parts.append(
                svg.tag(
                    "rect",
                    svg.hint(hint(low, high, value)),
                    x=left,
                    y=y(value),
                    width=width,
                    height=y(0) - y(value),
                    class_="feature bar",
                )
            )
    if limit is not None:
        parts.append(svg.line(x(limit), _TOP, x(limit), y(0), "axis"))
    floor = _HEIGHT - _BOTTOM
    parts.append(svg.line(x(edges[0]), floor, x(edges[-1]), floor, "axis"))
    for tick in ticks:
        parts.append(svg.line(x(tick), floor, x(tick), floor + 4, "axis"))
        parts.append(svg.text(x(tick), floor + 16, tick_label(tick), text_anchor="middle"))
    parts.append(svg.text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, axis, text_anchor="middle"))
    return svg.figure(_WIDTH, _HEIGHT, "".join(parts), f"{title}, a histogram", class_="panel")


def rounding_figure(summary: Summary, *, width: float) -> str:
    """Mean grade of features with intervals, and variance explained, by how much is rounded to 0; each with its own axis."""
    assert summary.studies is not None
    grades, rounding = summary.rubric.grades, summary.studies.rounding
    roomy = width >= 600
    left, right = (60.0, 64.0) if roomy else (34.0, 40.0)
    height, top, bottom = (300.0, 46.0, 40.0) if roomy else (270.0, 60.0, 40.0)
    explained = [value for value in rounding.variance_explained if value is not None]
    low = min([0.0, *explained])
    x = svg.linear((0, rounding.shares[-1]), (left + 10, width - right - 10))
    grade = svg.linear((grades[0], grades[-1]), (height - bottom, top))
    share = svg.linear((low, 1), (height - bottom, top))
    parts = [_rounding_legend(left, roomy)]
    for level in grades:
        parts.append(svg.line(left, grade(level), width - right, grade(level), "grid"))
        parts.append(svg.text(left - 8, grade(level) + 4, str(level), text_anchor="end"))
    for step in range(5):
        tick = low + (1 - low) * step / 4
        parts.append(svg.text(width - right + 8, share(tick) + 4, formatting.number(tick)))
    parts.append(svg.line(left, height - bottom, width - right, height - bottom, "axis"))
    for tick in (0, 0.2, 0.4, 0.6, 0.8):
        parts.append(svg.line(x(tick), height - bottom, x(tick), height - bottom + 4, "axis"))
        parts.append(svg.text(x(tick), height - bottom + 16, f"{tick:g}", text_anchor="middle"))
    axis = "activations rounded to 0, up to this share of the maximum" if roomy else "rounded to 0 up to this share"
    parts.append(svg.text((left + width - right) / 2, height - 6, axis, text_anchor="middle"))
    points = zip(rounding.shares, rounding.variance_explained, strict=True)
    parts.append(_explained(((x(at), value) for at, value in points if value is not None), share))
    parts.append(_graded(rounding.specificity, x, grade))
    label = "Mean grade and variance explained when weak activations are rounded to 0"
    return svg.figure(width, height, "".join(parts), label)


def _rounding_legend(left: float, roomy: bool) -> str:
    across = 260.0 if roomy else 0.0
    down = 14.0 if roomy else 34.0
    return (
        svg.dot(left + 4, 10, "feature")
        + svg.text(left + 14, 14, "mean grade of features (left axis)")
        + svg.square(left + across + 4, down - 4)
        + svg.text(left + across + 14, down, "variance explained (right axis)")
    )


def _explained(points: Iterable[tuple[float, float]], y: svg.Scale) -> str:
    drawn = list(points)
    path = " ".join(f"{at:.1f},{y(value):.1f}" for at, value in drawn)
    parts = [svg.tag("polyline", points=path, class_="second line dashed")]
    for at, value in drawn:
        parts.append(
            svg.tag("g", svg.hint(f"variance explained {formatting.number(value, 3)}"), svg.square(at, y(value)))
        )
    return "".join(parts)


def _graded(rows: list[RoundedSpecificity], x: svg.Scale, y: svg.Scale) -> str:
    drawn = [(row, row.mean) for row in rows if row.mean is not None]
    path = " ".join(f"{x(row.share):.1f},{y(mean):.1f}" for row, mean in drawn)
    parts = [svg.tag("polyline", points=path, class_="feature line")] if drawn else []
    for row, mean in drawn:
        at = x(row.share)
        marks = svg.hint(
            f"above {row.share:g} of the maximum: {formatting.estimate(row.mean, row.ci_low, row.ci_high)},"
            f" {formatting.plural(row.n_units, 'feature')}"
        )
        if row.ci_low is not None and row.ci_high is not None:
            marks += svg.line(at, y(row.ci_low), at, y(row.ci_high), "feature line")
        parts.append(svg.tag("g", marks, svg.dot(at, y(mean), "feature", 3.5)))
    return "".join(parts)


def _power(exponent: float) -> str:
    """A power of ten as an axis label: `1`, `0.01`, `1e\u22125`."""
    return "1" if exponent == 0 else f"{10**exponent:g}" if exponent >= -4 else f"1e\u2212{-exponent:.0f}"


def _share_ticks(tallest: float) -> list[float]:
    top = next((top for top in (0.1, 0.2, 0.5, 1.0) if tallest <= top), 1.0)
    return [0.0, top / 2, top]
