"""The picture of generality: the share of a dictionary's firing that another version of the texts keeps, beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autointerp.formatting import percent
from autointerp.report.figures import svg
from autointerp.studies.categories.generality import Generality
from autointerp.studies.finding import Picture

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 640.0, 220.0, 24.0, 34.0, 24.0, 40.0


def picture(found: Sequence[Generality], several: bool) -> Picture:
    """A row for each version of the texts and each dictionary: the share kept with its interval, and by chance."""
    rows = [row for each in found for row in each.figures]
    floor = _TOP + _ROW * len(rows)
    x = svg.linear((0, 1), (_LEFT, _WIDTH - _RIGHT))
    parts = [_legend()]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg.line(x(tick), _TOP, x(tick), floor, "grid"))
        parts.append(svg.text(x(tick), floor + 16, f"{tick:.0%}", text_anchor="middle"))
    axis = "share of the texts in which a feature fires, in whose counterparts it fires too"
    parts.append(svg.text((_LEFT + _WIDTH - _RIGHT) / 2, floor + 32, axis, text_anchor="middle"))
    parts += [_row(row, _TOP + _ROW * (number + 0.5), x, several) for number, row in enumerate(rows)]
    caption = (
        "Firing that is kept when the same content is in another language or register, with its interval, beside chance"
    )
    return Picture("generality", caption, svg.figure(_WIDTH, floor + _BOTTOM, "".join(parts), caption))


def _row(row: dict[str, Any], middle: float, x: svg.Scale, several: bool) -> str:
    label = f"{row['from']} to {row['to']}" + (f", {row['dictionary']}" if several else "")
    words = svg.text(_LEFT - 14, middle + 4, label, text_anchor="end")
    if row["kept"] != row["kept"]:
        return words + svg.text(_LEFT + 8, middle + 4, "nothing fires")
    hint = svg.hint(f"{label}: {percent(row['kept'])} kept, {percent(row['by_chance'])} by chance")
    marks = svg.line(x(row["low"]), middle, x(row["high"]), middle, "feature line")
    marks += svg.dot(x(row["kept"]), middle, "feature", 3.5) + svg.dot(x(row["by_chance"]), middle, "neuron", 3.5)
    return svg.tag("g", hint, words, marks)


def _legend() -> str:
    return (
        svg.dot(_LEFT, 14, "feature", 3.5) + svg.text(_LEFT + 10, 18, "kept")
        + svg.dot(_LEFT + 70, 14, "neuron", 3.5) + svg.text(_LEFT + 80, 18, "by chance")
    )  # fmt: skip
