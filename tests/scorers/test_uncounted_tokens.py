"""Tokens that are not counted are neither truth nor marks of any scorer, whatever an earlier version stored there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.scorers.scripted_judge import UNIT, active_tokens, case, judged

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.base import Case
from autointerp.scorers.contrast.contrastive import Contrastive
from autointerp.scorers.detection import Detection
from autointerp.scorers.fuzzing import Fuzzing
from autointerp.scorers.simulation import TOP, Simulation

FIRST = 5.0
"""The activation at the first token, as a multiple of the unit's maximum, in a harvest of an earlier version."""


def harvested(unit: Case, *, old: bool = False) -> Case:
    """The case with its first tokens not counted: without activation there, or with one in a harvest of an earlier version."""

    def masked(window: Exemplar) -> Exemplar:
        first = FIRST * unit.unit.max_activation if old else 0.0
        activations = (first, *window.token_activations[1:])
        return replace(window, token_activations=activations, uncounted=frozenset({0}), has_uncounted_activations=old)

    def is_marked(window: Exemplar) -> bool:
        return window.mark > 0

    active, silent = (tuple(map(masked, filter(is_marked, windows))) for windows in (unit.active, unit.silent))
    return replace(unit, active=active, silent=silent)


def knows(unit: Case, *, first: int = 0) -> Any:
    """A judge that knows the activation at every counted token, and says `first` at the first token of a window."""
    by_token = {
        token: (a if i not in e.uncounted else first * unit.unit.max_activation / TOP)
        for e in (*unit.active, *unit.silent)
        for i, (token, a) in enumerate(zip(e.tokens, e.token_activations, strict=True))
    }

    def says(material: TaskMaterial) -> Any:
        if material.task == "fuzzing":
            return {str(n): all(by_token[w.tokens[i]] > 0 for i in w.marks) for n, w in enumerate(material.windows, 1)}
        if material.task == "detection":
            return {str(n): any(by_token[t] > 0 for t in w.tokens) for n, w in enumerate(material.windows, 1)}
        tokens = [token for w in material.windows for token in w.tokens]
        strengths = [round(TOP * by_token[token] / UNIT.max_activation) for token in tokens]
        return {"strengths": [{"token": n, "strength": s} for n, s in enumerate(strengths, 1) if s]}

    return says


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("first", [0, TOP])
def test_a_simulator_that_is_right_on_every_counted_token_scores_1(old: bool, first: int) -> None:
    unit = harvested(case(50, 20, seed=1), old=old)
    assert judged(Simulation(), unit, knows(unit, first=first)).values["pearson"] == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_a_fuzzing_judge_that_knows_every_counted_token_scores_1(seed: int) -> None:
    unit = harvested(case(40, 20, seed))
    scores = judged(Fuzzing(), unit, knows(unit))
    assert (scores.values["balanced_accuracy"], scores.values["marks_alone"]) == (1.0, 1.0)
    assert scores.n_unscored == 0
    first = {window.tokens[0] for window in (*unit.active, *unit.silent)}
    marked = {item.window.tokens[i] for item in Fuzzing().items(unit) for i in item.window.marks}
    assert marked
    assert not marked & first


def test_uncounted_tokens_at_the_beginning_are_not_shown() -> None:
    unit = harvested(case(20, 20, seed=2))
    first = {window.tokens[0] for window in (*unit.active, *unit.silent)}
    assert not any(token in item.window.text for item in Detection().items(unit) for token in first)


def test_silence_is_that_of_the_counted_tokens() -> None:
    unit = harvested(case(20, 20, seed=2))
    assert sum(not item.truth for item in Detection().items(unit)) == len(unit.silent)
    assert len(Contrastive().pairs(unit)) == 8
    assert judged(Detection(), unit, knows(unit)).values["balanced_accuracy"] == 1.0


def test_questions_about_a_harvest_of_an_earlier_version_stay_and_items_with_uncounted_marks_are_left_out() -> None:
    unit = harvested(case(40, 20, seed=3), old=True)
    unaware = replace(
        unit,
        active=tuple(replace(e, uncounted=frozenset()) for e in unit.active),
        silent=tuple(replace(e, uncounted=frozenset()) for e in unit.silent),
    )
    asked, before = (Fuzzing().questions(of, 0, ()) for of in (unit, unaware))
    assert [question.prompt for question in asked] == [question.prompt for question in before]
    items = Fuzzing().items(unit)
    left_out = [item for item in items if 0 in item.window.marks]
    assert left_out
    assert [item for item in items if item.left_out] == left_out
    scores = judged(Fuzzing(), unit, knows(unit))
    assert (scores.n, scores.n_unscored) == (len(items) - len(left_out), 0)
    assert active_tokens(unit)
