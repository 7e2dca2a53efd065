"""Figures of a run for papers, drawn by matplotlib: `autointerp figures RUN --format pdf`.

They are as wide as one or two columns of a journal, their text stays text, and the same run gives the same bytes. Kinds of unit differ
in their marks as well as their colours. The figures of the page are drawn in `report/figures`, because they follow its light and dark
colours; these have a white ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary, read_summary
from autointerp.formatting import sentence
from autointerp.records import COMPARED
from autointerp.report import prose
from autointerp.report.tables import bins_of, control_mean
from sae.files import written_whole

FORMATS = ("pdf", "svg", "png")
COLUMN, PAGE = 3.25, 6.75
"""Widths of one and of two columns, in inches."""
_AXIS = "activation, as a share of the unit's maximum"
_COLOURS = {"feature": "#2559a8", "neuron": "#77716a", "control": "#10545a"}
_RAMP = ("#e6e0d2", "#a5cdc3", "#469a94", "#10545a")
_STYLE = {
    "font.size": 7.5, "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.1, "legend.frameon": False, "savefig.dpi": 300,
    "figure.constrained_layout.use": True, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "autointerp",
}  # fmt: skip
_NO_DATE: Mapping[str, Mapping[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


class _Row(NamedTuple):
    """A row of a chart of intervals."""

    name: str
    kind: str
    value: float
    low: float | None
    high: float | None


def write(folder: Path, to: Path, format: str) -> list[Path]:
    """Write the figures of the run in `folder` into the folder `to`, and return their paths: `curve`, `grades`, `controls` and, if
    windows of neighbours were judged, `distinction`. Raises `UsageError` for another format, or if matplotlib is not installed."""
    if format not in FORMATS:
        raise UsageError(f"figures cannot be written as {format!r}: use {', '.join(FORMATS)}")
    summary = read_summary(folder)
    try:
        library, figures = import_module("matplotlib"), import_module("matplotlib.figure")
    except ImportError:
        raise UsageError("figures need matplotlib: pip install 'autointerp-eval[figures]'") from None
    to.mkdir(parents=True, exist_ok=True)
    paths = []
    with library.rc_context(_STYLE):
        for name, draw in _DRAWINGS.items():
            figure = draw(summary, figures.Figure)
            if figure is not None:
                _name_the_judge(figure, summary)
                paths.append(to / f"{name}.{format}")
                with written_whole(paths[-1]) as partial:
                    figure.savefig(partial, format=format, metadata=_NO_DATE[format])
    return paths


def _curve(summary: Summary, new: Callable[..., Any]) -> Any:
    """Mean grade by activation bin with intervals, and the mean grade of other units' explanations as a dotted line."""
    figure = new(figsize=(COLUMN, 2.5))
    axes = figure.add_subplot()
    for kind, shift, style in zip(COMPARED, (-0.006, 0.006), ("-", "--"), strict=True):
        rows = [row for row in bins_of(summary, kind) if row.mean is not None]
        if rows:
            at, means = [(row.low + row.high) / 2 + shift for row in rows], [row.mean for row in rows]
            axes.plot(at, means, style, label=f"{kind}s", **_mark(kind))
            bounded = [(x, row) for x, row in zip(at, rows, strict=True) if row.ci_low is not None]
            places, lows, highs = (
                ([*column] for column in zip(*((x, r.ci_low, r.ci_high) for x, r in bounded), strict=True))
                if bounded
                else ([], [], [])
            )
            axes.vlines(places, lows, highs, color=_COLOURS[kind], linewidth=0.8, zorder=1)
    if (floor := summary.controls.shuffled.all.mean) is not None:
        axes.axhline(floor, linestyle=":", color="#8d877c", label="another unit's explanation")
    axes.set(xlabel=_AXIS, ylabel="mean grade", xlim=(0, 1), ylim=_grade_limits(summary), yticks=summary.rubric.grades)
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def _grades(summary: Summary, new: Callable[..., Any]) -> Any:
    """Share of each grade by activation bin, a panel for each kind that was judged."""
    kinds = [kind for kind in COMPARED if any(row.n for row in bins_of(summary, kind))]
    figure = new(figsize=(PAGE, 2.3))
    if not kinds:
        return None
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        rows = [row for row in bins_of(summary, kind) if row.n]
        base = [0.0] * len(rows)
        for place, grade in enumerate(summary.rubric.grades):
            shares = [row.share(grade) or 0.0 for row in rows]
            axes.bar(
                [row.low for row in rows], shares, [row.high - row.low for row in rows], base, align="edge", linewidth=0.4,
                edgecolor="white", color=_RAMP[round(place * 3 / max(len(summary.rubric.grades) - 1, 1))], label=f"grade {grade}",
            )  # fmt: skip
            base = [low + share for low, share in zip(base, shares, strict=True)]
        axes.set(title=f"{sentence(kind)}s", xlabel=_AXIS, xlim=(0, 1), ylim=(0, 1))
    panels[0].set_ylabel("share of judgements")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", reverse=True)
    return figure


def _controls(summary: Summary, new: Callable[..., Any]) -> Any:
    """Mean grade with its interval in each arm, and of planted units."""
    rows = [
        _Row(sentence(name), kind, cell.mean, cell.ci_low, cell.ci_high)
        for arm, name in prose.arms(summary).items()
        for kind in COMPARED
        if (cell := control_mean(summary, arm, kind)).mean is not None
    ]
    planted = summary.evidence.planted if summary.evidence else None
    for part, name in prose.PLANTED.items() if planted else ():
        cell = getattr(planted, part)
        rows += [_Row(sentence(name), "control", cell.mean, cell.ci_low, cell.ci_high)] if cell.mean is not None else []
    figure = _intervals(rows, new, "mean grade", _grade_limits(summary))
    if figure is not None:
        labels = {"feature": "features", "neuron": "neurons", "control": "planted units"}
        marks = {row.kind: mark for row, mark in zip(rows, figure.axes[0].get_lines(), strict=True)}
        _legend(figure, marks.values(), [labels[kind] for kind in marks])
    return figure


def _distinction(summary: Summary, new: Callable[..., Any]) -> Any:
    """How often explanations tell units from their nearest neighbours, with the chance level as a dotted line."""
    if summary.distinction is None:
        return None
    of_kind = [(kind, getattr(summary.distinction, kind)) for kind in COMPARED]
    rows = [
        _Row(f"{sentence(kind)}s", kind, t.value, t.ci_low, t.ci_high) for kind, t in of_kind if t.value is not None
    ]
    figure = _intervals(rows, new, "share told from the nearest neighbours", (0, 1))
    if figure is not None:
        line = figure.axes[0].axvline(summary.distinction.feature.chance, linestyle=":", color="#8d877c", zorder=0)
        _legend(figure, [line], ["chance level"])
    return figure


_DRAWINGS: Mapping[str, Callable[[Summary, Callable[..., Any]], Any]] = {
    "curve": _curve,
    "grades": _grades,
    "controls": _controls,
    "distinction": _distinction,
}


def _intervals(rows: Sequence[_Row], new: Callable[..., Any], label: str, limits: tuple[float, float]) -> Any:
    """A chart of one mark and interval a row; rows of one name share a line. None without rows."""
    if not rows:
        return None
    names = list(dict.fromkeys(row.name for row in rows))
    figure = new(figsize=(COLUMN, 0.75 + 0.26 * len(names)))
    axes = figure.add_subplot()
    for row, at in _places(rows, names):
        axes.plot([row.value], [at], linestyle="none", **_mark(row.kind))
        if row.low is not None and row.high is not None:
            axes.hlines(at, row.low, row.high, color=_COLOURS[row.kind], linewidth=0.8, zorder=1)
    axes.set(xlabel=label, xlim=limits, ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axes.tick_params(axis="y", length=0)
    return figure


def _places(rows: Sequence[_Row], names: Sequence[str]) -> Iterator[tuple[_Row, float]]:
    """The rows with their heights: kinds of one name a little apart."""
    shared = {name for name in names if sum(row.name == name for row in rows) > 1}
    for row in rows:
        shift = {"feature": -0.14, "neuron": 0.14}.get(row.kind, 0.0) if row.name in shared else 0.0
        yield row, names.index(row.name) + shift


def _legend(figure: Any, marks: Iterable[Any], labels: Sequence[str]) -> None:
    """A legend above the axes, where no mark can lie behind it."""
    figure.legend(
        list(marks), labels, loc="outside upper left", ncols=min(len(labels), 3), handlelength=2.2, columnspacing=1.2,
        fontsize=7, borderaxespad=0.1,
    )  # fmt: skip


def _mark(kind: str) -> dict[str, Any]:
    """The mark of a kind: a filled circle for features, an open diamond for neurons, a square for controls."""
    shape, face = {"feature": ("o", _COLOURS["feature"]), "neuron": ("D", "white")}.get(
        kind, ("s", _COLOURS["control"])
    )
    return {
        "color": _COLOURS[kind],
        "marker": shape,
        "markersize": 3.5,
        "markerfacecolor": face,
        "markeredgewidth": 0.9,
    }


def _grade_limits(summary: Summary) -> tuple[float, float]:
    low, high = summary.rubric.grades[0], summary.rubric.grades[-1]
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _name_the_judge(figure: Any, summary: Summary) -> None:
    """A line on who explained and graded, if that was no LLM."""
    if not (summary.judge_is_llm and summary.explainer_is_llm):
        figure.supxlabel(sentence(prose.judged_by(summary)) + ".", fontsize=6, color="#57534c", x=0.01, ha="left")
