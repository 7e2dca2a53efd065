"""The map as SVG: features as dots in the colours of the largest groups, with lines to labels in the margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from autointerp.report.figures import svg
from autointerp.studies.finding import Picture
from autointerp.studies.neighbours.features import Features
from autointerp.studies.neighbours.layout import Layout

_WIDTH, _HEIGHT, _MARGIN, _EDGE = 740.0, 480.0, 320.0, 12.0
_LINE = 15.0
_LONGEST = 54
"""Characters of a label."""
COLOURS = ("#3f7fd6", "#d9822b", "#2a9d8f", "#b5539c", "#7a9a01", "#c8443a", "#7d6bd6", "#8a6d3b")
_OTHER = "#a39d92"

Spot = tuple[float, float]


class Label(NamedTuple):
    """A feature that is labelled."""

    number: int
    text: str
    chosen: bool
    """Whether the user named the feature."""


def picture(
    features: Features, layout: Layout, labels: Sequence[Label], colour_of: Mapping[int, str], legend: Mapping[str, str]
) -> Picture:
    """The map. `colour_of` gives the colours of features; `legend` the texts of colours."""
    xs, ys = layout.at[:, 0], layout.at[:, 1]
    x = svg.linear((float(xs.min()), float(xs.max())), (_EDGE, _WIDTH - _MARGIN - _EDGE))
    y = svg.linear((float(ys.min()), float(ys.max())), (_HEIGHT - _EDGE, _EDGE))
    spots = {
        int(number): (x(float(across)), y(float(up)))
        for number, (across, up) in zip(layout.numbers, layout.at, strict=True)
    }
    # Grey dots lie below those of groups, and features without an explanation below those that have one.
    colours = {
        number: colour_of.get(number, _OTHER) for number in sorted(spots, key=lambda number: number in colour_of)
    }
    explained = [number for number in colours if features.explanations[number]]
    others = {number: colour for number, colour in colours.items() if not features.explanations[number]}
    parts = [
        _cloud([spots[number] for number in others if others[number] == colour], colour)
        for colour in dict.fromkeys(others.values())
    ]
    parts += [_dot(features, number, spots[number], colours[number]) for number in explained]
    parts += _labelled([label for label in labels if label.number in spots], spots)
    height = max(_HEIGHT, 2 * _EDGE + _LINE * len(labels))
    for colour, words in legend.items():
        height += _LINE
        parts.append(svg.tag("circle", cx=_EDGE, cy=height - 8, r=4, fill=colour))
        parts.append(svg.text(_EDGE + 10, height - 4, words))
    return Picture("map", layout.statement, svg.figure(_WIDTH, height + 4, "".join(parts), "Map of the features"))


def _cloud(spots: Sequence[Spot], colour: str) -> str:
    """Dots of one colour as one path of points, which is a tenth of the text of circles."""
    points = "".join(f"M{across:.1f} {down:.1f}h0" for across, down in spots)
    style = {"stroke": colour, "stroke_width": 3.2, "stroke_linecap": "round", "stroke_opacity": 0.75}
    return svg.tag("path", d=points, fill="none", **style)


def _dot(features: Features, number: int, spot: Spot, colour: str) -> str:
    hint = svg.hint(features.label(number))
    return svg.tag("circle", hint, cx=spot[0], cy=spot[1], r=2.4, fill=colour, fill_opacity=0.75)


def _labelled(labels: Sequence[Label], spots: Mapping[int, Spot]) -> list[str]:
    """Rings around labelled features, and their labels in the margin from top to bottom, in the order of the rings."""
    left, parts = _WIDTH - _MARGIN + 14, []
    ordered = sorted(labels, key=lambda label: spots[label.number][1])
    top = _EDGE + 4
    step = max(_LINE, (_HEIGHT - 2 * _EDGE) / len(ordered)) if ordered else _LINE
    for place, label in enumerate(ordered):
        across, down = spots[label.number]
        at = top + step * place
        parts.append(svg.line(across, down, left - 4, at - 4, "axis"))
        parts.append(
            svg.tag(
                "circle", cx=across, cy=down, r=6 if label.chosen else 4, fill="none", class_="axis", stroke_width=2
            )
        )
        text = label.text if len(label.text) <= _LONGEST else label.text[: _LONGEST - 1] + "\u2026"
        parts.append(svg.text(left, at, text, class_="strong" if label.chosen else None))
    return parts
