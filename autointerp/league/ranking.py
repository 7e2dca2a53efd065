"""The league: how well each figure tells right explanations from each kind of wrong one, by judge, over worlds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy import stats

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.league import world as worlds
from autointerp.league.asking import Answers, Grades, Judge, Run, ask_grades, ask_scorer
from autointerp.league.knowing_judge import KnowingJudge
from autointerp.league.metrics import METRICS, RUBRIC
from autointerp.league.samples import KINDS, RIGHT, Evidence, Samples
from autointerp.league.subject import PlantedSubject
from autointerp.scorers.registry import SCORERS
from autointerp.spec.rubric import Rubric, load
from autointerp.stats.answer_metrics import auroc

WORLDS = 20
ERROR = 0.2
"""Share of wrong answers of the judge that errs."""
CONFIDENCE = 0.95
JUDGES = ("knows", "errs", "embedded")
"""The judges, by name."""


class Key(NamedTuple):
    """A cell of the league: a judge, a metric by its number in `METRICS`, and a kind of wrong explanation."""

    judge: str
    metric: int
    kind: str


class Area(NamedTuple):
    """The area under the ROC curve of right against wrong explanations, over worlds."""

    mean: float
    margin: float
    """Half the width of its t interval over worlds, NaN for one world."""
    undefined: float
    """Share of the explanations without a figure. Such an explanation ties with every other."""


League = Mapping[Key, Area]


def rank(n_worlds: int = WORLDS, judges: Sequence[str] = JUDGES) -> League:
    """Every metric by every judge, over the worlds with seeds 0, 1, ... A process per CPU."""
    with ProcessPoolExecutor(min(n_worlds, os.cpu_count() or 1)) as pool:
        results = list(pool.map(rank_world, range(n_worlds), [judges] * n_worlds))
    return {key: _over_worlds([result[key] for result in results]) for key in results[0]}


def rank_world(seed: int, judges: Sequence[str] = JUDGES) -> dict[Key, tuple[float, float]]:
    """The area and the share of undefined figures of each cell in one world."""
    world = worlds.make(seed)
    samples, subject, rubric = Samples(world), PlantedSubject(world), load("specificity")
    evidence = [samples.of(unit) for unit in samples.evaluated]
    claims = {claim.text: claim for one in evidence for claim in one.explanations.values()}
    asked: Mapping[str, Judge] = {
        "knows": KnowingJudge(claims, 0.0, seed),
        "errs": KnowingJudge(claims, ERROR, seed),
        "embedded": EmbeddedJudge(rubric),
    }
    cells = {}
    for name in judges:
        tables = [_figures(one, rubric, asked[name], subject.run) for one in evidence]
        for metric in range(len(METRICS)):
            for kind in KINDS:
                pairs = [(table[RIGHT][metric], table[kind][metric]) for table in tables if kind in table]
                cells[Key(name, metric, kind)] = _area(pairs)
    return cells


def _figures(evidence: Evidence, rubric: Rubric, judge: Judge, run: Run) -> dict[str, list[float | None]]:
    """Every metric of each of a unit's explanations, by kind."""
    table = {}
    for kind, claim in evidence.explanations.items():
        case = evidence.explained(claim)
        answers: dict[str, Answers | Grades] = {
            name: ask_scorer(SCORERS[name], case, judge, run) for name in {m.evaluation for m in METRICS} - {RUBRIC}
        }
        answers[RUBRIC] = ask_grades(rubric, evidence, claim.text, judge)
        table[kind] = [metric.formula(answers[metric.evaluation]) for metric in METRICS]
    return table


def _area(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[float, float]:
    """AUROC of right figures against wrong ones. Comparisons with an undefined figure count half, as ties do."""
    right, wrong = ([value for value in side if value is not None] for side in zip(*pairs, strict=True))
    defined = len(right) * len(wrong) / len(pairs) ** 2
    area = auroc([True] * len(right) + [False] * len(wrong), right + wrong)
    undefined = 1 - (len(right) + len(wrong)) / (2 * len(pairs))
    return 0.5 if area is None else 0.5 + defined * (area - 0.5), undefined


def _over_worlds(results: Sequence[tuple[float, float]]) -> Area:
    areas = np.array([area for area, _ in results])
    spread = areas.std(ddof=1) if len(areas) > 1 else np.nan
    margin = (
        stats.t.ppf((1 + CONFIDENCE) / 2, len(areas) - 1) * spread / np.sqrt(len(areas)) if len(areas) > 1 else np.nan
    )
    return Area(float(areas.mean()), float(margin), fmean(undefined for _, undefined in results))
