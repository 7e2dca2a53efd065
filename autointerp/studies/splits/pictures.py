"""The pictures of the study `split`: the tree of the features that split most, and how many features are found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from autointerp.formatting import percent, plural
from autointerp.report.figures import svg
from autointerp.studies.finding import Picture
from autointerp.studies.splits.compared import Compared
from autointerp.studies.splits.trees import Level

_FAMILIES, _CHILDREN = 5, 7
_WIDTH, _ROW, _GAP = 760.0, 18.0, 12.0
_LEFT, _PARENT, _CHILD = 14.0, 330.0, 410.0
_LONGEST = 50
"""Characters of a label."""

Described = Callable[[int, int], str]
"""What a feature (number of the dictionary, number of the feature) stands for, in a few words."""


def pictures(
    compared: Compared, levels: list[Level], features: pd.DataFrame, described: Described
) -> Iterator[Picture]:
    """A tree for each level at which a feature splits, and the histogram."""
    for number, level in enumerate(levels, 1):
        if level.most_split(1):
            yield _tree(compared, level, described, "tree" if len(levels) == 1 else f"tree-{number}")
    yield _histogram(compared, features)


def _tree(compared: Compared, level: Level, described: Described, name: str) -> Picture:
    smaller, larger = compared.name(level.smaller), compared.name(level.larger)
    families = level.most_split(_FAMILIES)
    parts = [
        svg.text(_PARENT + 4, 16, smaller, class_="strong", text_anchor="end"),
        svg.text(_CHILD - 4, 16, larger, class_="strong"),
    ]
    top, half = 30.0, (_PARENT + _CHILD) / 2
    for parent in families:
        children = level.children[parent]
        shown = sorted(children, key=lambda child: -level.parents.cosine[child])[:_CHILDREN]
        rows = len(shown) + (len(children) > len(shown))
        middle = top + _ROW * rows / 2
        for row, child in enumerate(shown):
            y = top + _ROW * (row + 0.5)
            cosine = float(level.parents.cosine[child])
            hint = f"cosine {cosine:.2f}, {percent(float(level.parents.inside[child]))} of its tokens inside"
            path = f"M{_PARENT:.1f} {middle:.1f}C{half:.1f} {middle:.1f} {half:.1f} {y:.1f} {_CHILD:.1f} {y:.1f}"
            line = svg.tag("path", svg.hint(hint), d=path, class_="axis line", stroke_width=0.75 + 2 * cosine)
            parts += [line, _node(child, described(level.larger, child), _CHILD, y)]
        if len(children) > len(shown):
            y = top + _ROW * (rows - 0.5)
            parts.append(svg.text(_CHILD + 9, y + 4, f"and {len(children) - len(shown)} more"))
        parts.append(_node(parent, described(level.smaller, parent), _PARENT, middle, before=True))
        top += _ROW * rows + _GAP
    label = (
        f"Tree of the {plural(len(families), 'feature')} of {smaller} that split most, with their children in {larger}"
    )
    caption = (
        f"The features of {smaller} with the most children in {larger}, with explanations or the tokens at which they are most active."
        " Wider lines: larger decoder cosines."
    )
    return Picture(name, caption, svg.figure(_WIDTH, top, "".join(parts), label))


def _node(feature: int, words: str, x: float, y: float, *, before: bool = False) -> str:
    """The dot of a feature with its label after it, or `before` it."""
    label = f"{feature} {words}"
    cut = label if len(label) <= _LONGEST else label[: _LONGEST - 1].rstrip() + "…"
    drawn = svg.text(x - 9, y + 4, cut, text_anchor="end") if before else svg.text(x + 9, y + 4, cut)
    return svg.tag("g", svg.hint(label), svg.dot(x, y, "feature", 3.5), drawn)


def _histogram(compared: Compared, features: pd.DataFrame) -> Picture:
    """A row for each dictionary and number of others in which features are found."""
    parts, top = [], 4.0
    x = svg.linear((0, 1), (0, _WIDTH - 260))
    for studied in compared.studied:
        own = features.loc[features["dictionary"] == studied.name, "found_in"]
        parts.append(svg.text(_LEFT, top + 14, f"{studied.name}: {plural(len(own), 'feature')}", class_="strong"))
        top += 20
        for found in range(len(compared)):
            n = int((own == found).sum())
            share = n / len(own) if len(own) else 0.0
            bar = svg.tag(
                "rect",
                svg.hint(plural(n, "feature")),
                x=120,
                y=top + 2,
                width=x(share),
                height=_ROW - 4,
                class_="feature",
            )
            label = f"found in {found} of {len(compared) - 1}"
            parts += [svg.text(112, top + 13, label, text_anchor="end"), bar]
            parts.append(svg.text(126 + x(share), top + 13, f"{n:,} ({percent(share)})"))
            top += _ROW
        top += _GAP
    label = "Features by the number of other dictionaries in which they are found again"
    return Picture("stability", label + ".", svg.figure(_WIDTH, top, "".join(parts), label))
