"""The files of a sweep: `sweep.json`, `sweep.csv` and the self-contained `sweep.svg`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autointerp.formatting import duration
from autointerp.report.figures import svg
from sae.training.cost import Cost
from sae.training.scaling_laws import Cell, Law, Scaling, Surface, Withheld, as_json

WIDTH, HEIGHT, TOP = 400.0, 270.0, 64.0
LEFT, RIGHT, BOTTOM = 60.0, 64.0, 44.0

Point = tuple[float, float]


@dataclass
class Curve:
    """Points joined by a line, or a law drawn dashed and without marks, or marks alone."""

    name: str
    points: list[Point]
    law: bool = False
    joined: bool = True
    open: list[Point] = field(default_factory=list)
    """Points at the grid's edge, drawn hollow."""


def write(folder: Path, cells: Sequence[Cell], scaling: Scaling, title: str) -> None:
    """Write all three files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(as_json(cells, scaling), indent=2) + "\n", encoding="utf-8")
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, list(asdict(cells[0])))
        rows.writeheader()
        rows.writerows(asdict(cell) for cell in cells)
    (folder / "sweep.svg").write_text(figure(cells, scaling, title), encoding="utf-8")


def sentences(scaling: Scaling) -> list[str]:
    """One line for each law: the law, or the reason why it is withheld."""
    lines = [_surface(scaling.surface)]
    for name, law in (
        ("lowest loss", scaling.loss),
        ("best number of features", scaling.features),
        ("best number of steps", scaling.steps),
        ("best learning rate", scaling.lr),
    ):
        lines.append(f"{name}: {_law(law)}")
    at_edge = sum(optimum.edge for optimum in scaling.optima)
    if at_edge:
        lines.append(
            f"{at_edge} of {len(scaling.optima)} budgets have their best number of features at the grid's edge"
        )
    return lines


def cost(estimate: Cost) -> str:
    """The cost of a training in one line."""
    passes = estimate.harvested / max(estimate.corpus_tokens, 1)
    repeated = f", {passes:.1f} times the corpus" if passes > 1 else ""
    return (
        f"{estimate.harvested:,} activations to read{repeated}, {estimate.trained:,} to train on: about"
        f" {duration(estimate.seconds)} on this machine, {duration(estimate.harvest_s)} of it in the subject"
    )


def figure(cells: Sequence[Cell], scaling: Scaling, title: str) -> str:
    """An SVG of four panels on logarithmic axes: loss by compute, loss by features along each budget, and the best number of
    features, steps and learning rate by compute."""
    panels = [
        _panel("Loss by compute, one line per number of features", "compute", _by_features(cells, scaling)),
        _panel("Loss by features, one line per budget", "features", _by_budget(scaling)),
        _panel("Best features and steps by compute", "compute", _optima(scaling)),
        _panel("Best learning rate by compute", "compute", _rates(scaling)),
    ]
    parts = [svg.text(20, 30, title, class_="strong head")]
    parts += [svg.text(20, 50, "Filled: measured, or inside the grid. Hollow: at the grid's edge. Dashed: fitted law.")]
    for number, body in enumerate(panels):
        x, y = 12 + number % 2 * (WIDTH + 16), TOP + number // 2 * (HEIGHT + 12)
        parts.append(svg.tag("g", body, transform=f"translate({x:.0f} {y:.0f})"))
    bottom = TOP + 2 * (HEIGHT + 12)
    lines = sentences(scaling)
    parts += [svg.text(20, bottom + 16 + 16 * row, line) for row, line in enumerate(lines)]
    label = "Scaling laws: " + "; ".join(lines)
    return svg.figure(2 * WIDTH + 40, bottom + 24 + 16 * len(lines), "".join(parts), label, standalone=True)


def _by_features(cells: Sequence[Cell], scaling: Scaling) -> list[Curve]:
    best: dict[int, dict[float, float]] = {}
    for cell in cells:
        curve = best.setdefault(cell.d_sae, {})
        curve[cell.compute] = min(cell.loss, curve.get(cell.compute, math.inf))
    curves = [Curve(f"{d_sae:,}", sorted(curve.items())) for d_sae, curve in sorted(best.items())]
    return curves + _law_curve(scaling.loss)


def _by_budget(scaling: Scaling) -> list[Curve]:
    curves = [Curve(_short(o.compute), list(o.slice)) for o in scaling.optima]
    inside, edge = ([(o.d_sae, o.loss) for o in scaling.optima if o.edge is at] for at in (False, True))
    return [*curves, Curve("", inside, joined=False, open=edge)] if curves else []


def _optima(scaling: Scaling) -> list[Curve]:
    curves = []
    for name, law in (("features", scaling.features), ("steps", scaling.steps)):
        points = [(o.edge, (o.compute, o.d_sae if name == "features" else o.steps)) for o in scaling.optima]
        if points:
            curves.append(Curve(name, [p for e, p in points if not e], joined=False, open=[p for e, p in points if e]))
        curves += _law_curve(law)
    return curves


def _rates(scaling: Scaling) -> list[Curve]:
    points, edge = ([(r.compute, r.lr) for r in scaling.rates if r.edge is at] for at in (False, True))
    return [Curve("", points, joined=False, open=edge), *_law_curve(scaling.lr)] if scaling.rates else []


def _law_curve(law: Law | Withheld) -> list[Curve]:
    if isinstance(law, Withheld):
        return []
    return [Curve("", [(law.low, law.at(law.low)), (law.high, law.at(law.high))], law=True)]


def _panel(title: str, axis: str, curves: list[Curve]) -> str:
    parts = [svg.text(LEFT, 13, title, class_="strong")]
    points = [point for curve in curves for point in [*curve.points, *curve.open]]
    if not points:
        return "".join([*parts, svg.text(LEFT, HEIGHT / 2, "nothing to draw: the grid is too small")])
    x, y = (
        _log_scale([p[i] for p in points], span)
        for i, span in enumerate(((LEFT, WIDTH - RIGHT), (HEIGHT - BOTTOM, 24.0)))
    )
    for at in _ticks([p[0] for p in points]):
        parts.append(svg.line(x(at), 24, x(at), HEIGHT - BOTTOM, "grid"))
        parts.append(svg.text(x(at), HEIGHT - BOTTOM + 15, _short(at), text_anchor="middle"))
    for at in _ticks([p[1] for p in points]):
        parts.append(svg.line(LEFT, y(at), WIDTH - RIGHT, y(at), "grid"))
        parts.append(svg.text(LEFT - 6, y(at) + 4, _short(at), text_anchor="end"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axis, text_anchor="middle"))
    for curve in curves:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve.points)
        if curve.law or (curve.joined and len(curve.points) > 1):
            parts.append(svg.tag("polyline", points=path, class_="feature line" + (" dashed" if curve.law else "")))
        if not curve.law:
            parts += [svg.dot(x(a), y(b), "feature", 3.0) for a, b in curve.points]
            parts += [svg.dot(x(a), y(b), "neuron", 3.0) for a, b in curve.open]
        if curve.name:
            a, b = max([*curve.points, *curve.open])
            parts.append(svg.text(x(a) + 7, y(b) + 4, curve.name))
    return "".join(parts)


def _log_scale(values: Iterable[float], span: tuple[float, float]) -> svg.Scale:
    logs = [math.log(value) for value in values]
    room = 0.05 * (max(logs) - min(logs)) or 0.1
    linear = svg.linear((min(logs) - room, max(logs) + room), span)
    return lambda value: linear(math.log(value))


def _ticks(values: Sequence[float]) -> list[float]:
    """At least three round values within the range: decades if there are enough of them, else finer steps."""
    low, high = min(values) * 0.999, max(values) * 1.001
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    tenths = tuple(n / 10 for n in range(10, 100))
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0), tenths):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: 1 + (len(ticks) - 1) // 6]


def _short(value: float) -> str:
    return (
        f"{value:g}"
        if 1e-3 <= value < 1e5
        else f"{value:.1e}".replace(".0e", "e").replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    )


def _law(law: Law | Withheld) -> str:
    if isinstance(law, Withheld):
        return f"withheld: {law.withheld}"
    return (
        f"compute to the power {law.exponent:.3f} (standard error {law.se:.3f}, {law.points} points,"
        f" {law.low:.1e} to {law.high:.1e} operations)"
    )


def _surface(surface: Surface | Withheld) -> str:
    if isinstance(surface, Withheld):
        return f"loss by features and tokens: withheld: {surface.withheld}"
    return (
        f"loss by features and tokens: features to the power {surface.features:.3f} (standard error"
        f" {surface.features_se:.3f}), tokens to the power {surface.tokens:.3f} ({surface.tokens_se:.3f}); the fit misses the"
        f" {surface.points} points by {surface.residual:.1%} (rms)"
    )
