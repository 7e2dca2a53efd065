"""The picture of completeness: the share of concepts present against their frequency, for several dictionaries at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from autointerp.report.figures import svg
from autointerp.studies.completeness.curves import RESCALED, NamedCurve
from autointerp.studies.finding import Picture

_WIDTH, _HEIGHT = 640.0, 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 16.0, 16.0, 44.0
_LEGEND = 18.0
_GROUPS = 6
"""Marks of a curve: each is the share present in a group of concepts of similar frequency."""
_LINES = (
    "feature line",
    "neuron line dashed",
    "second line",
    "feature line dashed",
    "neuron line",
    "second line dashed",
)


def pictures(curves: Sequence[NamedCurve]) -> list[Picture]:
    """Curves against the frequency, and all dictionaries' points against the frequency times alive features."""
    drawn = [curve for curve in curves if curve.curve.n]
    own = [curve for curve in drawn if curve.name != RESCALED]
    found = []
    if own:
        caption = (
            "Share of concepts that are present, against their frequency in the text. Marks: groups of concepts of similar frequency. Lines: the"
            " logistic curve, with the interval of its midpoint at one half"
        )
        found.append(_picture("completeness", caption, "occurrences per token", [(each, each.rows) for each in own]))
    if common := [curve for curve in drawn if curve.name == RESCALED]:
        caption = (
            "The same concepts with frequency times alive features: 1 is one occurrence in as many tokens as the dictionary has alive features."
            " Marks: each dictionary. Line: one curve for all"
        )
        rows = [(each, common[0].rows[common[0].rows["dictionary"] == each.name]) for each in own]
        found.append(_picture("rescaled", caption, "frequency times alive features", rows, common[0]))
    return found


def _picture(
    name: str,
    caption: str,
    axis: str,
    marked: Sequence[tuple[NamedCurve, pd.DataFrame]],
    common: NamedCurve | None = None,
) -> Picture:
    xs = np.concatenate([rows["x"].to_numpy(dtype=np.float64) for _, rows in marked])
    low, high = math.floor(xs.min()), max(math.ceil(xs.max()), math.floor(xs.min()) + 1)
    top = _TOP + _LEGEND * len(marked)
    height = _HEIGHT + _LEGEND * len(marked)
    x = svg.linear((low, high), (_LEFT + 8, _WIDTH - _RIGHT))
    y = svg.linear((0, 1), (height - _BOTTOM, top))
    parts = [_axes(low, high, axis, x, y)]
    lines = [(common, 0)] if common else [(curve, number) for number, (curve, _) in enumerate(marked)]
    parts += [_curve(curve, number, (low, high), x, y) for curve, number in lines]
    for number, (curve, rows) in enumerate(marked):
        parts.append(_marks(curve.name, rows, number, x, y))
        at = _TOP + _LEGEND * number
        parts.append(_mark(number, _LEFT + 16, at))
        parts.append(svg.text(_LEFT + 28, at + 4, f"{curve.name}, {curve.alive:,} alive features"))
    return Picture(name, caption, svg.figure(_WIDTH, height, "".join(parts), caption))


def _axes(low: int, high: int, axis: str, x: svg.Scale, y: svg.Scale) -> str:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg.line(_LEFT, y(share), _WIDTH - _RIGHT, y(share), "grid" if share else "axis"))
        parts.append(svg.text(_LEFT - 6, y(share) + 4, f"{share:.0%}", text_anchor="end"))
    for tick in range(low, high + 1):
        parts.append(svg.line(x(tick), y(0), x(tick), y(0) + 4, "axis"))
        parts.append(svg.text(x(tick), y(0) + 16, f"1e{tick}".replace("-", "\u2212"), text_anchor="middle"))
    return "".join(parts) + svg.text((_LEFT + _WIDTH - _RIGHT) / 2, y(0) + 36, axis, text_anchor="middle")


def _curve(named: NamedCurve, number: int, domain: tuple[int, int], x: svg.Scale, y: svg.Scale) -> str:
    points = np.linspace(*domain, 81)
    values = named.curve.at(points)
    if values is None or named.curve.midpoint is None:
        return ""
    style = _LINES[number % len(_LINES)]
    path = " ".join(f"{x(point):.1f},{y(value):.1f}" for point, value in zip(points, values, strict=True))
    ends = [float(np.clip(end, *domain)) for end in (named.curve.low, named.curve.high)]
    hint = svg.hint(f"{named.name}: interval of the midpoint")
    interval = svg.tag("g", hint, svg.line(x(ends[0]), y(0.5), x(ends[1]), y(0.5), style.removesuffix(" dashed")))
    return svg.tag("polyline", points=path, class_=style) + interval


def _marks(name: str, rows: pd.DataFrame, number: int, x: svg.Scale, y: svg.Scale) -> str:
    """A mark for each group of concepts: their mean logarithm of frequency, and the share present."""
    ordered = rows.sort_values("x", kind="stable")
    parts = []
    for group in np.array_split(np.arange(len(ordered)), min(_GROUPS, len(ordered))):
        part = ordered.iloc[group]
        share = float(part["present"].mean())
        hint = svg.hint(f"{name}: {int(part['present'].sum())} of {len(part)} concepts")
        parts.append(svg.tag("g", hint, _mark(number, x(float(part["x"].mean())), y(share))))
    return "".join(parts)


def _mark(number: int, x: float, y: float) -> str:
    kind = number % 3
    return svg.square(x, y) if kind == 2 else svg.dot(x, y, ("feature", "neuron")[kind])
