"""The graph of a prompt as SVG: layers as rows from the bottom up, positions as columns, the answer on top.

Solid edges raise the difference of logits and dashed ones lower it; their width grows with their size in logits.
"""

from __future__ import annotations

from autointerp.report.figures import svg
from autointerp.studies.attribution.tables import Names
from autointerp.studies.finding import Picture
from sae.studies.attribution.circuit import ERROR, Circuit, Edge, Node

_COLUMN, _NODE, _GAP = 88.0, 17.0, 40.0
_LEFT, _TOP, _BOTTOM = 96.0, 34.0, 34.0
_THIN, _THICK = 0.5, 5.0

Spot = tuple[float, float]


def picture(names: Names, circuit: Circuit) -> Picture:
    """The picture of a graph with nodes. Columns are the positions that have nodes."""
    columns = {position: i for i, position in enumerate(sorted({node.position for node in circuit.nodes}))}
    rows = _rows(circuit, len(names.studied))
    spots, height = _spots(circuit, columns, rows)
    width = _LEFT + _COLUMN * len(columns)
    answer = width - _COLUMN / 2, 22.0
    most = max((abs(edge.logits) for edge in circuit.edges), default=1.0)
    parts = [_edge(names, edge, spots, answer, most) for edge in sorted(circuit.edges, key=lambda e: abs(e.logits))]
    for number, (top, size) in rows.items():
        parts.append(svg.text(8, top + size / 2 + 4, names.studied[number].name, class_="strong"))
    parts += [_node(names, node, value, spots[node]) for node, value in circuit.nodes.items()]
    for position, column in columns.items():
        parts.append(svg.text(_LEFT + _COLUMN * column, height - 10, names.token(position)))
    parts.append(svg.text(answer[0] - 8, 16, names.target, class_="strong", text_anchor="middle"))
    label = (
        f"Graph of the prompt: {len(circuit.nodes)} nodes and {len(circuit.edges)} edges that lead to {names.target!r}"
    )
    drawing = svg.figure(width, height, "".join(parts), label)
    caption = (
        "Features (circles, by number) and errors (squares) by layer and token. Solid edges raise the difference of logits, dashed ones"
        " lower it; wide ones carry more."
    )
    return Picture("graph", caption, drawing)


def _rows(circuit: Circuit, layers: int) -> dict[int, tuple[float, float]]:
    """The top and the height of each dictionary's row, the last dictionary first."""
    rows, top = {}, _TOP + _GAP
    for number in reversed(range(layers)):
        cells: dict[int, int] = {}
        for node in circuit.nodes:
            if node.dictionary == number:
                cells[node.position] = cells.get(node.position, 0) + 1
        size = _NODE * max(cells.values(), default=1)
        rows[number] = top, size
        top += size + _GAP
    return rows


def _spots(
    circuit: Circuit, columns: dict[int, int], rows: dict[int, tuple[float, float]]
) -> tuple[dict[Node, Spot], float]:
    """The place of each node, and the height of the picture."""
    spots: dict[Node, Spot] = {}
    filled: dict[tuple[int, int], int] = {}
    for node in circuit.nodes:
        cell = node.dictionary, node.position
        y = rows[node.dictionary][0] + _NODE * (filled.get(cell, 0) + 0.5)
        filled[cell] = filled.get(cell, 0) + 1
        spots[node] = _LEFT + _COLUMN * columns[node.position] + 8, y
    top, size = rows[0]
    return spots, top + size + _BOTTOM


def _edge(names: Names, edge: Edge, spots: dict[Node, Spot], answer: Spot, most: float) -> str:
    (x1, y1), (x2, y2) = spots[edge.source], answer if edge.target is None else spots[edge.target]
    hint = f"{names.node(edge.source)} to {names.node(edge.target)}: {edge.logits:+.3g} logits, {100 * edge.share:.0f}%"
    return svg.tag(
        "line", svg.hint(hint), x1=x1, y1=y1, x2=x2, y2=y2, class_="feature" if edge.logits > 0 else "axis dashed",
        stroke_width=_THIN + (_THICK - _THIN) * abs(edge.logits) / most, stroke_opacity=0.55,
    )  # fmt: skip


def _node(names: Names, node: Node, value: float, spot: Spot) -> str:
    x, y = spot
    explanation = names.explanation(node.dictionary, node.feature)
    hint = f"{names.node(node)}: {value:+.3g} logits" + (f". {explanation}" if explanation else "")
    mark = svg.square(x, y) if node.feature == ERROR else svg.dot(x, y, "feature", 3.5)
    label = "error" if node.feature == ERROR else str(node.feature)
    return svg.tag("g", svg.hint(hint), mark, svg.text(x + 7, y + 4, label))
