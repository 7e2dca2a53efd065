"""The figure of mean grades by level of rarity, for both kinds of unit."""

from __future__ import annotations

from autointerp.findings.results import RarityLevel
from autointerp.findings.summary import Summary
from autointerp.formatting import plural
from autointerp.records import COMPARED
from autointerp.report import cells
from autointerp.report.figures import svg
from autointerp.report.tables import level_name

_HEIGHT, _TOP, _BOTTOM = 250.0, 14.0, 46.0


def rarity_figure(summary: Summary, *, width: float) -> str:
    """Mean grade with intervals in each level of rarity, the rarest on the right; empty for a summary of an early version."""
    if summary.equal_rarity is None:
        return ""
    grades, levels = summary.rubric.grades, summary.equal_rarity.levels
    left, right = (104.0, 84.0) if width >= 600 else (34.0, 12.0)
    y = svg.linear((grades[0], grades[-1]), (_HEIGHT - _BOTTOM, _TOP))
    x = svg.linear((0.5, len(levels) + 0.5), (width - right, left))
    parts = []
    for grade in grades:
        parts.append(svg.line(left, y(grade), width - right, y(grade), "grid"))
        parts.append(svg.text(left - 8, y(grade) + 4, str(grade), text_anchor="end"))
    parts.append(svg.line(left, _HEIGHT - _BOTTOM, width - right, _HEIGHT - _BOTTOM, "axis"))
    for level in levels:
        name = level_name(level).removesuffix(" tokens")
        parts.append(svg.text(x(level.level), _HEIGHT - _BOTTOM + 16, name, text_anchor="middle"))
    axis = "the unit's strongest activations, as a share of all tokens"
    parts.append(svg.text((left + width - right) / 2, _HEIGHT - 8, axis, text_anchor="middle"))
    for kind, shift in zip(COMPARED, (-6.0, 6.0), strict=True):
        parts += [_mean(level, kind, x(level.level) + shift, y) for level in levels]
    label = "Mean grade of features and neurons at equal rarity"
    return svg.figure(width, _HEIGHT, "".join(parts), label)


def _mean(level: RarityLevel, kind: str, at: float, y: svg.Scale) -> str:
    mean, n_units = (level.features, level.n_features) if kind == "feature" else (level.neurons, level.n_neurons)
    if mean.mean is None:
        return ""
    value = cells.interval(mean)
    marks = svg.hint(f"{kind}s, {level_name(level)}: {value}, {plural(n_units, 'unit')}")
    if mean.ci_low is not None and mean.ci_high is not None:
        marks += svg.line(at, y(mean.ci_low), at, y(mean.ci_high), f"{kind} line")
    return svg.tag("g", marks, svg.dot(at, y(mean.mean), kind, 3.5))
