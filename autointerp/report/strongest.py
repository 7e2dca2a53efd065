"""Features for the first screen: the best, the typical and the worst by mean grade, each with its strongest context."""

from __future__ import annotations

from typing import NamedTuple

from autointerp.formatting import number
from autointerp.report.contexts import Row, heat
from autointerp.report.escape import clip, visible
from autointerp.report.reader import Results

PER_GROUP = 3
_BEFORE, _AFTER = 26, 60
"""Characters shown before and after the mark: one line of the first screen."""
_EXPLANATION_CHARS, _TOKEN_CHARS = 160, 32


class Word(NamedTuple):
    """A token: its text, its activation as a digit (see `contexts.heat`), and whether it is the one with the mark."""

    text: str
    heat: str
    marked: bool


class Shown(NamedTuple):
    """A feature of the first screen. `context` is empty if the run keeps no context of it."""

    unit_id: str
    name: str
    grade: str
    explanation: str
    context: list[Word]


def groups(results: Results) -> list[tuple[str, list[Shown]]]:
    """The features with the highest, the median and the lowest mean grades, at most `PER_GROUP` each and none twice; empty without grades."""
    graded = [unit for unit in results.units if unit["kind"] == "feature" and unit["mean_score"] is not None]
    graded.sort(key=lambda unit: (-unit["mean_score"], unit["index"]))
    n = min(PER_GROUP, len(graded) // 3) or min(1, len(graded))
    middle = (len(graded) - n) // 2
    parts = [("Best features", graded[:n])]
    if len(graded) >= 3:
        parts += [("Typical features", graded[middle : middle + n]), ("Worst features", graded[-n:][::-1])]
    return [(title, [_shown(unit, results) for unit in units]) for title, units in parts if units]


def _shown(unit: Row, results: Results) -> Shown:
    strongest = results.strongest.get(unit["unit_id"], [])
    return Shown(
        unit["unit_id"],
        f"feature {unit['index']}",
        number(unit["mean_score"], 1),
        clip(unit["explanation"] or "no explanation", _EXPLANATION_CHARS),
        _line(results.exemplars[strongest[0]], unit["max_activation"]) if strongest else [],
    )


def _line(exemplar: Row, maximum: float | None) -> list[Word]:
    """The tokens around the mark that fit on one line."""
    tokens, mark = [clip(visible(token), _TOKEN_CHARS) for token in exemplar["tokens"]], int(exemplar["mark"])
    start, stop = mark, mark + 1
    while start and sum(map(len, tokens[start - 1 : mark])) <= _BEFORE:
        start -= 1
    while stop < len(tokens) and sum(map(len, tokens[mark + 1 : stop + 1])) <= _AFTER:
        stop += 1
    activations = exemplar["token_activations"]
    return [Word(tokens[at], heat(activations[at], maximum), at == mark) for at in range(start, stop)]
