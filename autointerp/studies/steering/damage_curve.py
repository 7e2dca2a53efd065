"""The picture of a steering study: perplexity of the unsteered text by factor, for the units and the baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from autointerp.report.figures import svg
from autointerp.studies.finding import Picture
from autointerp.studies.steering.measurement import FEW_SHOT, PROBE, RANDOM, STEERED
from autointerp.studies.steering.tables import HEADINGS, amount

_WIDTH, _HEIGHT = 640.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 16.0, 44.0, 40.0
_LINES = {STEERED: "feature line", RANDOM: "neuron line dashed", FEW_SHOT: "second line", PROBE: "second line dashed"}


def damage_curve(factors: pd.DataFrame) -> Picture:
    """Perplexity on a logarithmic axis against the factor; a dashed line stands at the unsteered text's own."""
    base = float(factors["unsteered_perplexity"].iloc[0])
    values = [v for v in [base, *factors["perplexity"]] if math.isfinite(v)]
    caption = "Damage: perplexity of the unsteered continuation under each factor (logarithmic); the dotted line is without steering"
    if not values:
        return Picture(
            "damage", caption, svg.figure(_WIDTH, 40, svg.text(8, 24, "no unsteered text to measure"), caption)
        )
    low = math.log10(min(values))
    high = max(math.log10(max(values)), low + 0.1)
    x = svg.linear((min(0.0, factors["factor"].min()), max(0.0, factors["factor"].max())), (_LEFT + 8, _WIDTH - _RIGHT))
    y = svg.linear((low, high), (_HEIGHT - _BOTTOM, _TOP))
    parts = [_axes(sorted({0.0, *factors["factor"]}), low, high, x, y)]
    parts.append(svg.line(_LEFT, y(math.log10(base)), _WIDTH - _RIGHT, y(math.log10(base)), "floor"))
    arms = [arm for arm in HEADINGS if arm in set(factors["arm"])]
    for number, arm in enumerate(arms):
        rows = factors[factors["arm"] == arm].sort_values("factor")
        points = [(0.0, base), *zip(rows["factor"], rows["perplexity"], strict=True)]
        if 0.0 in set(rows["factor"]):
            points = points[1:]
        parts.append(_curve(sorted(points), arm, x, y))
        parts.append(_legend(number, arm))
    return Picture("damage", caption, svg.figure(_WIDTH, _HEIGHT, "".join(parts), caption))


def _axes(ticks: Sequence[float], low: float, high: float, x: svg.Scale, y: svg.Scale) -> str:
    floor = _HEIGHT - _BOTTOM
    parts = [svg.line(_LEFT, floor, _WIDTH - _RIGHT, floor, "axis")]
    for tick in ticks:
        parts.append(svg.line(x(tick), floor, x(tick), floor + 4, "axis"))
        parts.append(svg.text(x(tick), floor + 16, f"{tick:g}".replace("-", "\u2212"), text_anchor="middle"))
    for level in _levels(low, high):
        parts.append(svg.line(_LEFT, y(level), _WIDTH - _RIGHT, y(level), "grid"))
        parts.append(
            svg.text(_LEFT - 6, y(level) + 4, f"{10**level:,.3g}" if level < 3 else f"1e{level:g}", text_anchor="end")
        )
    parts.append(svg.text(8, _TOP - 10, "perplexity"))
    label = "factor: multiples of the maximum"
    return "".join(parts) + svg.text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, label, text_anchor="middle")


def _levels(low: float, high: float) -> list[float]:
    """Exponents of about five ticks: whole ones, or evenly spaced ones if the values span less than two powers of ten."""
    if high - low < 2:
        return [low + (high - low) * step / 4 for step in range(5)]
    step = math.ceil((high - low) / 5)
    return [float(level) for level in range(math.ceil(low), math.floor(high) + 1, step)]


def _curve(points: Sequence[tuple[float, float]], arm: str, x: svg.Scale, y: svg.Scale) -> str:
    drawn = [(factor, value) for factor, value in points if math.isfinite(value)]
    path = " ".join(f"{x(factor):.1f},{y(math.log10(value)):.1f}" for factor, value in drawn)
    parts = [svg.tag("polyline", points=path, class_=_LINES[arm])]
    for factor, value in drawn:
        marks = svg.hint(f"{HEADINGS[arm]}, factor {factor:g}: perplexity {amount(value)}") + _mark(
            arm, x(factor), y(math.log10(value))
        )
        parts.append(svg.tag("g", marks))
    return "".join(parts)


def _mark(arm: str, x: float, y: float) -> str:
    if arm in (STEERED, RANDOM):
        return svg.dot(x, y, "feature" if arm == STEERED else "neuron", 3.5)
    return svg.square(x, y)


def _legend(number: int, arm: str) -> str:
    left = _LEFT + 8 + 145 * number
    sample = svg.tag("polyline", points=f"{left:.1f},14 {left + 22:.1f},14", class_=_LINES[arm])
    return sample + _mark(arm, left + 11, 14) + svg.text(left + 28, 18, HEADINGS[arm])
