"""SVG as strings: escaped elements, linear scales and round ticks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html import escape

from autointerp.report.escape import visible

Scale = Callable[[float], float]

PALETTE = """
text{font-family:-apple-system,BlinkMacSystemFont,"Segoe UI","Helvetica Neue",Arial,"Liberation Sans",system-ui,sans-serif;font-size:11px;fill:#57534c}
.ground{fill:#fff}.strong{fill:#1c1b19;font-weight:600}.head{font-size:15px}.axis{stroke:#8d877c}.grid{stroke:#e7e3da}
.g0{fill:#e6e0d2}.g1{fill:#a5cdc3}.g2{fill:#469a94}.g3{fill:#10545a}.un{fill:none;stroke:#8d877c;stroke-dasharray:2 2}
.feature{stroke:#2559a8;fill:#2559a8}.neuron{stroke:#77716a;fill:#fff}.second{stroke:#469a94}.second.dot{fill:#fff}.dot{stroke-width:1.75}
.line{fill:none;stroke-width:1.75}.dashed{stroke-dasharray:5 3}.floor{stroke:#8d877c;stroke-dasharray:1 3}
.halo{paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}
@media (prefers-color-scheme:dark){
text{fill:#b3aea4}.ground{fill:#161614}.strong{fill:#eceae4}.axis,.un,.floor{stroke:#7d786f}.grid{stroke:#2e2d2a}
.g0{fill:#3d3b36}.g1{fill:#28585a}.g2{fill:#4a9f98}.g3{fill:#b9eadf}
.feature{stroke:#7fb0f5;fill:#7fb0f5}.neuron{stroke:#a59f95;fill:#161614}.second{stroke:#4a9f98}.second.dot{fill:#161614}.line{fill:none}.halo{stroke:#161614}
}
"""
"""Colours for a figure that stands alone, on light and dark screens. In the page the same classes take the page's colours."""
_FIGURE = re.compile(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)" role="img" aria-label="([^"]*)"[^>]*>')


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element. Attribute values are escaped; children must be markup already. `class_` becomes `class`, and `_` in names `-`."""
    attributes_text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{attributes_text}>{''.join(children)}</{name}>" if children else f"<{name}{attributes_text}/>"


def text(x: float, y: float, words: str, **attributes: object) -> str:
    """A line of text. `y` is its baseline; the words are escaped."""
    return tag("text", escape(visible(words)), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dot(x: float, y: float, kind: str, radius: float = 4) -> str:
    """The mark of a kind of unit: a filled circle for features, an open diamond for neurons, so that colour is never needed."""
    if kind == "feature":
        return tag("circle", cx=x, cy=y, r=radius, class_="feature")
    r = radius * 1.25
    return tag(
        "path", d=f"M{x:.1f} {y - r:.1f}l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z", class_="neuron dot"
    )


def square(x: float, y: float) -> str:
    """The mark of anything but features and neurons, in its own colour."""
    return tag("rect", x=x - 3.5, y=y - 3.5, width=7, height=7, class_="second dot")


def hint(words: str) -> str:
    """A tooltip. It must be the first child of its element."""
    return tag("title", escape(visible(words)))


def linear(domain: tuple[float, float], span: tuple[float, float]) -> Scale:
    """The linear scale that maps `domain` to `span`."""
    (d0, d1), (s0, s1) = domain, span
    return lambda value: s0 + (value - d0) / ((d1 - d0) or 1.0) * (s1 - s0)


def round_ticks(top: float, n_steps: int = 4) -> list[float]:
    """About `n_steps` round steps from 0 to the first that is not below `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / n_steps
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    step = max(1.0, step) if top >= 1 else step
    return [step * i for i in range(math.ceil(top / step) + 1)]


def figure(
    width: float, height: float, body: str, label: str, *, standalone: bool = False, class_: str | None = None
) -> str:
    """The svg element of a figure. `label` describes it to people who cannot see it."""
    size = f"0 0 {_value(width)} {_value(height)}"
    drawing = tag("svg", body, viewBox=size, role="img", aria_label=visible(label), class_=class_)
    return alone(drawing) if standalone else drawing


def alone(drawing: str) -> str:
    """What `figure` returned, as a file of its own: with a name space, a size, a ground and colours."""
    start = _FIGURE.match(drawing)
    assert start is not None, "not drawn by `figure`"
    width, height, label = start.groups()
    ground = tag("rect", width=width, height=height, class_="ground")
    attributes = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg {attributes} role="img" aria-label="{label}"><style>{PALETTE}</style>{ground}<title>{label}</title>'
    return head + drawing[start.end() :]


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
