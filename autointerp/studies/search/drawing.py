"""The picture of features found by two sets of texts: how active each feature is in every text of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autointerp.report.figures import svg
from autointerp.studies.finding import Picture
from autointerp.studies.workbench import Studied
from sae.studies.readings import TextValues, activations_at_tokens

FEATURES = 12
"""Features that are drawn, at most."""
_LEFT, _SCALE, _RIGHT, _ROW, _TOP, _BOTTOM = 16.0, 320.0, 16.0, 22.0, 34.0, 40.0
_NAME = 320.0
_LONGEST = 54
"""Characters of a label."""
_APART = 4.0
"""Distance of the two sets' marks from the middle of a row."""


def picture(studied: Studied, features: Sequence[int], values: TextValues, n_first: int, name: str) -> Picture:
    """A row for each feature, with a mark for each text: filled for the first `n_first` texts, open for the others."""
    shown = list(features[:FEATURES])
    by_text = activations_at_tokens(studied.dictionary, values, shown)
    peaks = np.stack([text.max(axis=1, initial=0.0) for text in by_text], axis=1)
    floor = _TOP + _ROW * len(shown)
    width = _LEFT + _NAME + _SCALE + _RIGHT
    x = svg.linear((0.0, 1.0), (_LEFT + _NAME, width - _RIGHT))
    parts = [_legend(n_first, len(by_text) - n_first)]
    for tick in (0.0, 0.5, 1.0):
        parts.append(svg.line(x(tick), _TOP, x(tick), floor, "grid"))
        parts.append(svg.text(x(tick), floor + 16, f"{tick:g}", text_anchor="middle"))
    parts.append(
        svg.text(x(0.5), floor + 32, "largest activation in a text, as a share of the row's", text_anchor="middle")
    )
    for row, feature in enumerate(shown):
        middle = _TOP + _ROW * (row + 0.5)
        parts.append(_label(studied, feature, middle))
        share = peaks[row] / max(float(peaks[row].max()), 1e-12)
        parts += [
            _mark(x(float(value)), middle, number < n_first) for number, value in reversed(list(enumerate(share)))
        ]
    caption = f"{studied.name}: the features that were found, in every text. Filled: texts of the first set; open: of the second"
    return Picture(name, caption, svg.figure(width, floor + _BOTTOM, "".join(parts), caption))


def _mark(x: float, middle: float, is_first: bool) -> str:
    return svg.dot(x, middle - _APART, "feature", 3) if is_first else svg.dot(x, middle + _APART, "neuron", 3)


def _label(studied: Studied, feature: int, middle: float) -> str:
    explanation = studied.explanation(f"feature-{feature}")
    words = f"{feature} {explanation}" if explanation else f"feature-{feature}"
    cut = words if len(words) <= _LONGEST else words[: _LONGEST - 1].rstrip() + "…"
    return svg.tag("g", svg.hint(words), svg.text(_LEFT + _NAME - 14, middle + 4, cut, text_anchor="end"))


def _legend(n_first: int, n_second: int) -> str:
    left = _LEFT + _NAME
    parts = [svg.dot(left, 14, "feature", 3), svg.text(left + 9, 18, f"{n_first} texts of the first set")]
    if n_second:
        parts += [svg.dot(left + 160, 14, "neuron", 3), svg.text(left + 169, 18, f"{n_second} of the second")]
    return "".join(parts)
