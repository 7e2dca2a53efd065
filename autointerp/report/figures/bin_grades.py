"""Figures of grades by activation bin: the four panels, the curve of mean grades, and the interval of the difference.

Grades have one ramp from pale to dark, and kinds differ in their marks as well as their colours, so that every figure can be read
without colour. Figures in the page take its colours; `bins_figure` can also stand alone as a file. All figures are drawn as SVG here
and not by a plotting library, because they follow the page's light and dark colours and its fonts.
"""

from __future__ import annotations

from autointerp import formatting
from autointerp.findings.results import Bin
from autointerp.findings.summary import Summary
from autointerp.records import COMPARED
from autointerp.report import cells, prose
from autointerp.report.figures import svg
from autointerp.report.tables import bins_of

_AXIS = "activation, as a share of the unit's maximum"


def bins_figure(summary: Summary, *, standalone: bool = True) -> str:
    """Counts and shares of each grade by activation bin, for both kinds: four panels on shared axes, with a title that names the judge.

    These are the two plots of Scaling Monosemanticity, "Features vs. Neurons".
    """
    width, panel_width, panel_height, top = 760, 352.0, 200.0, 92.0
    parts = [
        svg.text(
            20,
            30,
            f"Grades by activation bin, {summary.subject.name} at {summary.hook_point}",
            class_="strong head",
        ),
        svg.text(
            20,
            50,
            formatting.sentence(prose.judged_by(summary)) + ".",
            class_="strong" if not summary.judge_is_llm else None,
        ),
        _legend(summary, 20, 74),
    ]
    for row, shares in enumerate((False, True)):
        for column, kind in enumerate(COMPARED):
            body = _panel(summary, kind, shares, panel_width, panel_height)
            x, y = 16 + column * (panel_width + 24), top + row * (panel_height + 12)
            parts.append(svg.tag("g", body, transform=f"translate({x:.0f} {y:.0f})"))
    label = f"Counts and shares of each grade by activation bin, features beside neurons; {prose.judged_by(summary)}"
    return svg.figure(width, top + 2 * panel_height + 24, "".join(parts), label, standalone=standalone)


def bins_panel(summary: Summary, kind: str, *, shares: bool) -> str:
    """One of the four panels, for a page that arranges them by its own width."""
    measure = "shares" if shares else "counts"
    label = f"{kind}s: {measure} of each grade by activation bin"
    return svg.figure(400, 216, _panel(summary, kind, shares, 400.0, 216.0), label, class_="panel")


def curve_figure(summary: Summary, *, width: float, standalone: bool = False) -> str:
    """Mean grade by bin with intervals for both kinds, the shuffled floor, and each bin's share of events and number of units."""
    grades = summary.rubric.grades
    roomy = width >= 600
    left, right = (104.0, 84.0) if roomy else (34.0, 66.0)
    height, top, bottom = (352.0, 14.0, 122.0) if roomy else (270.0, 12.0, 46.0)
    x = svg.linear((0, 1), (left, width - right))
    y = svg.linear((grades[0], grades[-1]), (height - bottom, top))
    parts = []
    for grade in grades:
        parts.append(svg.line(left, y(grade), width - right, y(grade), "grid"))
        parts.append(svg.text(left - 8, y(grade) + 4, str(grade), text_anchor="end"))
    if roomy:
        parts.append(svg.text(left - 26, top + 4, "mean grade", text_anchor="end"))
    parts.append(_x_axis(x, height - bottom))
    parts.append(svg.text((left + width - right) / 2, height - bottom + 32, _AXIS, text_anchor="middle"))
    labels = _floor(summary, parts, x, y)
    for kind, shift in zip(COMPARED, (-3.0, 3.0), strict=True):
        drawn = [(row, row.mean) for row in bins_of(summary, kind) if row.mean is not None]
        parts.append(_curve(drawn, kind, x, y, shift))
        if drawn:
            labels.append((y(drawn[-1][1]), f"{kind}s", "strong"))
    parts.extend(svg.text(width - right + 8, at + 4, name, class_=style) for at, name, style in _apart(labels))
    if roomy:
        for kind, at in zip(COMPARED, (height - 68, height - 50), strict=True):
            parts.append(_events_row(summary, kind, x, left, at))
        for kind, at in zip(COMPARED, (height - 32, height - 14), strict=True):
            units = [(row, formatting.count(row.n_units)) for row in bins_of(summary, kind)]
            parts.append(_row(f"{kind} units", units, x, left, at))
    label = "Mean grade by activation bin with intervals, features and neurons"
    return svg.figure(width, height, "".join(parts), label, standalone=standalone)


Interval = tuple[float | None, float | None, float | None]
"""An estimate with its lower and upper limit."""


def difference_figure(interval: Interval, reach: float) -> str:
    """One row of a forest plot: a difference and its interval on a shared axis from -reach to reach."""
    difference, low, high = interval
    x = svg.linear((-reach, reach), (6.0, 154.0))
    parts = [svg.line(x(0), 0, x(0), 24, "axis")]
    if difference is not None and low is not None and high is not None:
        parts += [svg.line(x(low), 12, x(high), 12, "feature line"), svg.dot(x(difference), 12, "feature")]
    return svg.figure(
        160, 24, "".join(parts), f"difference {formatting.estimate(difference, low, high)}", class_="forest"
    )


def _panel(summary: Summary, kind: str, shares: bool, width: float, height: float) -> str:
    left, right, top, bottom = 46.0, 6.0, 24.0, 38.0
    tallest = max((row.n + row.n_unscored for row in summary.bins if row.bin >= 1), default=0)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if shares else svg.round_ticks(tallest)
    x = svg.linear((0, 1), (left, width - right))
    y = svg.linear((0, ticks[-1]), (height - bottom, top))
    title = f"{kind.capitalize()}s: " + ("share of each grade" if shares else "judgements of each grade")
    parts = [svg.text(left, 13, title, class_="strong")]
    for tick in ticks:
        parts.append(svg.line(left, y(tick), width - right, y(tick), "grid"))
        parts.append(
            svg.text(left - 6, y(tick) + 4, formatting.percent(tick) if shares else f"{tick:,.0f}", text_anchor="end")
        )
    for row in bins_of(summary, kind):
        parts.append(_stack(row, summary.rubric.grades, shares, x, y))
    parts.append(_x_axis(x, height - bottom))
    parts.append(svg.text((left + width - right) / 2, height - 4, _AXIS, text_anchor="middle"))
    return "".join(parts)


def _stack(row: Bin, grades: list[int], shares: bool, x: svg.Scale, y: svg.Scale) -> str:
    left, right = x(row.low) + 0.75, x(row.high) - 0.75
    where = f"bin {row.bin}, {row.low:.3g} to {row.high:.3g} of the maximum"
    parts, base = [], 0.0
    for grade in grades:
        size = row.share(grade) if shares else row.count(grade)
        if not size:
            continue
        hint = f"{where}: grade {grade}, " + (
            formatting.percent(size) if shares else formatting.plural(int(size), "judgement")
        )
        parts.append(_bar(left, right, base, base + size, y, f"g{grade}", hint))
        base += size
    if not shares and row.n_unscored:
        hint = f"{where}: {formatting.plural(row.n_unscored, 'judgement')} unscored"
        parts.append(_bar(left, right, base, base + row.n_unscored, y, "un", hint))
    return "".join(parts)


def _bar(left: float, right: float, low: float, high: float, y: svg.Scale, class_: str, hint: str) -> str:
    return svg.tag(
        "rect", svg.hint(hint), x=left, y=y(high), width=right - left, height=y(low) - y(high), class_=class_
    )


def _x_axis(x: svg.Scale, at: float) -> str:
    parts = [svg.line(x(0), at, x(1), at, "axis")]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(svg.line(x(tick), at, x(tick), at + 4, "axis"))
        parts.append(svg.text(x(tick), at + 16, f"{tick:g}", text_anchor="middle"))
    return "".join(parts)


def _curve(rows: list[tuple[Bin, float]], kind: str, x: svg.Scale, y: svg.Scale, shift: float) -> str:
    points = [(x((row.low + row.high) / 2) + shift, row, mean) for row, mean in rows]
    path = " ".join(f"{at:.1f},{y(mean):.1f}" for at, _, mean in points)
    parts = [svg.tag("polyline", points=path, class_=f"{kind} line" + (" dashed" if kind == "neuron" else ""))]
    for at, row, mean in points:
        shown = f"{kind}s, bin {row.bin}: {cells.interval(row)}, {formatting.plural(row.n_units, 'unit')}"
        marks = svg.hint(shown)
        if row.ci_low is not None and row.ci_high is not None:
            marks += svg.line(at, y(row.ci_low), at, y(row.ci_high), f"{kind} line")
        parts.append(svg.tag("g", marks, svg.dot(at, y(mean), kind, 3.5)))
    return "".join(parts)


def _floor(summary: Summary, parts: list[str], x: svg.Scale, y: svg.Scale) -> list[tuple[float, str, str | None]]:
    shuffled = summary.controls.shuffled.all.mean
    if shuffled is None:
        return []
    parts.append(svg.line(x(0), y(shuffled), x(1), y(shuffled), "floor"))
    return [(y(shuffled), "shuffled", None)]


def _apart(labels: list[tuple[float, str, str | None]], gap: float = 14.0) -> list[tuple[float, str, str | None]]:
    """The labels (height, name, class) moved down as far as needed for none to overlap."""
    placed: list[tuple[float, str, str | None]] = []
    for at, name, style in sorted(labels, key=lambda label: label[0]):
        placed.append((max(at, placed[-1][0] + gap) if placed else at, name, style))
    return placed


def _events_row(summary: Summary, kind: str, x: svg.Scale, left: float, at: float) -> str:
    rows = bins_of(summary, kind)
    total = sum(row.events for row in rows)
    shares = [(row, formatting.percent(row.events / total)) for row in rows] if total else []
    return _row(f"{kind} events", shares, x, left, at)


def _row(name: str, values: list[tuple[Bin, str]], x: svg.Scale, left: float, at: float) -> str:
    """A row of text below the axis, one value per bin."""
    parts = [svg.text(left - 14, at, name, text_anchor="end")]
    parts += [svg.text(x((row.low + row.high) / 2), at, value, text_anchor="middle") for row, value in values]
    return "".join(parts)


def _legend(summary: Summary, x: float, y: float) -> str:
    parts = []
    for grade in summary.rubric.grades:
        parts.append(svg.tag("rect", x=x, y=y - 10, width=12, height=12, class_=f"g{grade}"))
        parts.append(svg.text(x + 17, y, f"grade {grade}"))
        x += 76
    if any(row.n_unscored for row in summary.bins):
        parts.append(svg.tag("rect", x=x + 0.5, y=y - 9.5, width=11, height=11, class_="un"))
        parts.append(svg.text(x + 17, y, "unscored"))
    return "".join(parts)
