"""The figures that are ranked: those of this project, and the formulas of delphi, SAEBench and FADE on the same answers.

A metric is one entry of `METRICS`. It reads the answers to one evaluation's questions: a scorer's of the registry, or the rubric's grades.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from autointerp.league.asking import Answers
from autointerp.scorers import yes_no_items
from autointerp.scorers.detection import Detection
from autointerp.scorers.fuzzing import Fuzzing
from autointerp.scorers.registry import SCORERS
from autointerp.scorers.window_choice import strongest_first
from autointerp.scorers.yes_no_items import Item

RUBRIC = "rubric"
"""The evaluation by the rubric's grades."""
DETECTION, FUZZING = Detection(), Fuzzing()
FADE = {
    "clarity_fade": "clarity",
    "responsiveness_fade": "responsiveness",
    "purity_fade": "responsiveness",
    "faithfulness_fade": "faithfulness",
}
"""FADE's own figures, each with the scorer that computes it."""
NOT_OF_THE_EXPLANATION = {"from_examples", "from_examples_any", "read_again", "concept_share", "best_factor", "sharing"}
"""Figures of scorers that are no score, or do not depend on the explanation."""
BENCH_TOP, BENCH_DRAWN, BENCH_SILENT = 2, 2, 10
"""Windows in SAEBench's test phase: the strongest, others drawn by activation, and random ones."""


class Metric(NamedTuple):
    """A figure of an explanation; higher is better. None if the answers do not define it."""

    name: str
    source: str
    """The package or paper whose formula it is; empty for this project's."""
    evaluation: str
    """The name of a scorer, or `RUBRIC`."""
    formula: Callable[[Any], float | None]
    """Of `Answers`, or of `Grades` for the rubric."""
    is_compared: bool = True
    """Whether it stands in the table: not a scorer's further figures."""


def _mean(grades: Sequence[int]) -> float | None:
    return fmean(grades) if grades else None


def _difference(grades: Sequence[int], other: Sequence[int]) -> float | None:
    return fmean(grades) - fmean(other) if grades and other else None


def _figure(name: str) -> Callable[[Answers], float | None]:
    """A figure of the scorer itself."""
    return lambda answers: answers.scores.values[name]


def _delphi_fuzzing(answers: Answers) -> float | None:
    """Accuracy over right marks in active windows and wrong ones in silent windows, the items that delphi has."""
    items = yes_no_items.answered(FUZZING.items(answers.case), answers.steps)
    return _accuracy([(item, flag) for item, flag in items if item.truth == item.active])


def _saebench(answers: Answers) -> float | None:
    """Accuracy over SAEBench's 14 windows: the two strongest, two drawn by activation, and ten silent ones."""
    case, rng = answers.case, random.Random(answers.case.seed)
    pairs = {
        item.window.tokens: (item, flag) for item, flag in yes_no_items.answered(DETECTION.items(case), answers.steps)
    }
    ranked = strongest_first(case.active)
    top, rest = ranked[:BENCH_TOP], ranked[BENCH_TOP:]
    drawn = rng.choices(rest, [window.activation for window in rest], k=BENCH_DRAWN) if rest else []
    return _accuracy([pairs[w.tokens] for w in (*top, *drawn, *case.silent[:BENCH_SILENT]) if w.tokens in pairs])


def _accuracy(pairs: Sequence[tuple[Item, bool]]) -> float | None:
    return fmean(item.truth == flag for item, flag in pairs) if pairs else None


METRICS = (
    Metric("grade", "", RUBRIC, lambda grades: _mean(grades.own)),
    Metric("grade - silent", "", RUBRIC, lambda grades: _difference(grades.own, grades.silent)),
    Metric("grade - neighbours", "", RUBRIC, lambda grades: _difference(grades.own, grades.neighbours)),
    *(
        Metric(f"{scorer.name}: {figure}", "", scorer.name, _figure(figure), figure in list(scorer.figures)[:1])
        for scorer in SCORERS.values()
        for figure in scorer.figures
        if scorer.needs_explanation and figure not in NOT_OF_THE_EXPLANATION | FADE.keys()
    ),
    Metric("detection: accuracy", "delphi", "detection", _figure("accuracy")),
    Metric("fuzzing: accuracy", "delphi", "fuzzing", _delphi_fuzzing),
    Metric("autointerp", "SAEBench", "detection", _saebench),
    *(Metric(figure.removesuffix("_fade"), "FADE", scorer, _figure(figure)) for figure, scorer in FADE.items()),
)
"""Every metric. A scorer of the registry has an entry for each of its figures without being listed."""
