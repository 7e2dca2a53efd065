"""The figure of the controls: mean grades in the main arm, the control arms, and of control units."""

from __future__ import annotations

from typing import NamedTuple

from autointerp import formatting
from autointerp.findings.results import ControlMean
from autointerp.findings.summary import Summary
from autointerp.records import COMPARED
from autointerp.report import cells, prose
from autointerp.report.figures import svg
from autointerp.report.tables import control_mean
from autointerp.stats.estimates import MeanEstimate


class _ControlRow(NamedTuple):
    """A row of the figure for control units."""

    name: str
    meaning: str
    kind: str
    mean: MeanEstimate


def controls_figure(summary: Summary, *, width: float) -> str:
    """Mean grade with its interval in each arm, for features and neurons, and of control units if the run has any."""
    grades, arms = summary.rubric.grades, prose.arms(summary)
    roomy = width >= 600
    left, right = (208.0, 168.0) if roomy else (14.0, 14.0)
    step, top = (50.0, 12.0) if roomy else (64.0, 20.0)
    rows, each = _control_rows(summary), 30.0 if roomy else 46.0
    height = top + step * len(arms) + each * len(rows) + 30
    x = svg.linear((grades[0], grades[-1]), (left, width - right))
    floor = height - 30
    parts = []
    for grade in grades:
        parts.append(svg.line(x(grade), top - 4, x(grade), floor, "grid"))
        parts.append(svg.text(x(grade), floor + 15, str(grade), text_anchor="middle"))
    parts.append(svg.text((left + width - right) / 2, floor + 29, "mean grade", text_anchor="middle"))
    for place, (arm, name) in enumerate(arms.items()):
        middle = top + step * (place + 0.5) + (0 if roomy else 8)
        parts.append(_arm_label(name, arm, left, middle, roomy))
        for kind, shift in zip(COMPARED, (-8.0, 8.0), strict=True):
            parts.append(_arm_interval(control_mean(summary, arm, kind), kind, arm, x, middle + shift))
            if roomy:
                parts.append(_arm_number(control_mean(summary, arm, kind), kind, width - right + 14, middle + shift))
    for place, row in enumerate(rows):
        at = top + step * len(arms) + each * (place + 0.5) + (0 if roomy else 8)
        parts.append(_control_row(row, x, at, (left, width - right) if roomy else None))
    among = "features, neurons and controls" if rows else "features and neurons"
    label = f"Mean grade in each arm with intervals, {among}"
    return svg.figure(width, height, "".join(parts), label)


def _control_rows(summary: Summary) -> list[_ControlRow]:
    if summary.evidence is None:
        return []
    planted, random = summary.evidence.planted, summary.evidence.random or {}
    meanings = {"hits": "ceiling", "near": "near miss", "misses": "miss"}
    rows = []
    if planted:
        rows = [
            _ControlRow(name, meanings[part], "planted", getattr(planted, part)) for part, name in prose.PLANTED.items()
        ]
    for kind, meaning in prose.READ_CONTROLS.items():
        if kind in random:
            rows.append(_ControlRow(prose.KINDS[kind], meaning, "control", random[kind]))
    return rows


def _control_row(row: _ControlRow, x: svg.Scale, at: float, sides: tuple[float, float] | None) -> str:
    """A square with its interval. `sides` are the ends of the axis, between name and numbers; None if there is no room for these."""
    name, meaning, kind, cell = row
    shown = formatting.estimate(cell.mean, cell.ci_low, cell.ci_high)
    parts = []
    if sides is None:
        parts.append(svg.text(14, at - 12, f"{formatting.sentence(name)} ({meaning})", class_="strong halo"))
    else:
        parts.append(svg.text(sides[0] - 24, at - 2, formatting.sentence(name), text_anchor="end", class_="strong"))
        parts.append(svg.text(sides[0] - 24, at + 11, meaning, text_anchor="end"))
        parts.append(svg.text(sides[1] + 14, at + 4, kind) + svg.text(sides[1] + 66, at + 4, shown))
    if cell.mean is not None:
        marks = svg.hint(f"{kind} units, {name}: {shown}")
        if cell.ci_low is not None and cell.ci_high is not None:
            marks += svg.line(x(cell.ci_low), at, x(cell.ci_high), at, "second line")
        parts.append(svg.tag("g", marks, svg.square(x(cell.mean), at)))
    return "".join(parts)


def _arm_label(name: str, arm: str, left: float, middle: float, roomy: bool) -> str:
    meaning = {"main": "result", "shuffled": "floor", "base_rate": "base rate", "neighbour": "too broad?"}[arm]
    if roomy:
        return svg.text(
            left - 24, middle - 2, formatting.sentence(name), text_anchor="end", class_="strong"
        ) + svg.text(left - 24, middle + 13, meaning, text_anchor="end")
    return svg.text(left, middle - 20, f"{formatting.sentence(name)} ({meaning})", class_="strong halo")


def _arm_interval(cell: ControlMean, kind: str, arm: str, x: svg.Scale, at: float) -> str:
    if cell.mean is None:
        return ""
    marks = svg.hint(f"{kind}s, {prose.ARMS[arm]}: {cells.interval(cell)}")
    if cell.ci_low is not None and cell.ci_high is not None:
        marks += svg.line(x(cell.ci_low), at, x(cell.ci_high), at, f"{kind} line")
    return svg.tag("g", marks, svg.dot(x(cell.mean), at, kind))


def _arm_number(cell: ControlMean, kind: str, x: float, at: float) -> str:
    shown = formatting.estimate(cell.mean, cell.ci_low, cell.ci_high)
    why = svg.hint(cells.interval(cell)) if cell.ci_low is None else ""
    return svg.text(x, at + 4, f"{kind}s") + svg.tag("g", why, svg.text(x + 52, at + 4, shown))
