"""Contrastive over written pairs: which pairs a unit is asked about, and what judges of known skill score."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.scorers.cases import LARGEST, Opened, case

from autointerp.messages import Prompt, TaskMaterial
from autointerp.scorers.base import ReadPeaks, Scores
from autointerp.scorers.contrast.concept_pairs import concept_pairs, texts
from autointerp.scorers.contrast.written_contrast import WrittenContrast
from sae.analysis.unit_probe import largest_activations, read_texts
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

SCORER = WrittenContrast()
FRENCH = next(pair for pair in concept_pairs() if pair.concept == "French")
GERMAN = next(pair for pair in concept_pairs() if pair.concept == "German")


def peaks(active: dict[str, float]) -> list[float]:
    """The unit's largest activation in each text, as a share of its maximum; 0 in all others."""
    return [active.get(text, 0.0) * LARGEST for text in texts()]


def judged(
    read: list[float], answer: Callable[[TaskMaterial], int | None], seed: int = 0
) -> tuple[Scores, list[Prompt]]:
    of = replace(case(), seed=seed)
    questions = SCORER.questions(of, 1, [[read]])
    answers: list[Any] = []
    for question in questions:
        assert isinstance(question.prompt.material, TaskMaterial)
        given = answer(question.prompt.material)
        answers.append(None if given is None else question.parse(json.dumps({"answer": given})))
    return SCORER.score(of, [[read], answers]), [question.prompt for question in questions]


def finds(*texts: str) -> Callable[[TaskMaterial], int]:
    return lambda material: next(n for n, window in enumerate(material.windows, 1) if window.text in texts)


def test_a_unit_is_asked_about_the_pairs_in_which_it_is_active_on_one_side() -> None:
    both = concept_pairs()[0]
    active = {FRENCH.sides[0][1]: 0.9, GERMAN.sides[0][0]: 0.5, both.sides[0][0]: 0.9, both.sides[1][1]: 0.8}
    scores, prompts = judged(peaks(active), finds(*active))
    assert (scores.values["accuracy"], scores.values["accuracy_weighted"], scores.values["pairs"]) == (1, 1, 2)
    shown = [{window.text for window in prompt.material.windows} for prompt in prompts]  # type: ignore[union-attr]
    assert shown == [{FRENCH.sides[0][1], FRENCH.sides[1][1]}, {GERMAN.sides[0][0], GERMAN.sides[1][0]}]


def test_the_concept_may_be_on_the_silent_side() -> None:
    scores, prompts = judged(peaks({FRENCH.sides[1][0]: 0.4}), finds(FRENCH.sides[1][0]))
    assert len(prompts) == 1
    assert scores.values["accuracy"] == 1


def test_pairs_are_weighted_by_activation() -> None:
    active = {FRENCH.sides[0][0]: 0.9, GERMAN.sides[0][0]: 0.3}
    scores, _ = judged(peaks(active), finds(FRENCH.sides[0][0], GERMAN.sides[1][0]))
    assert scores.values["accuracy"] == 0.5
    assert scores.values["accuracy_weighted"] == pytest.approx(0.75)


@pytest.mark.parametrize("answer", [1, 2])
def test_a_judge_that_always_gives_one_number_scores_at_chance(answer: int) -> None:
    active = {pair.sides[0][0]: 0.5 for pair in concept_pairs()}
    scores, prompts = judged(peaks(active), lambda material: answer)
    assert len(prompts) == 8
    assert (scores.values["accuracy"], scores.values["pairs"]) == (0.5, len(concept_pairs()))


def test_neither_text_is_marked_and_the_strongest_windows_are_shown() -> None:
    _, [prompt] = judged(peaks({FRENCH.sides[0][0]: 0.5}), lambda material: 1)
    assert prompt.user.count("<<") == 5
    assert FRENCH.sides[0][0] in prompt.user
    assert "French" not in prompt.user


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.15, "active on one side only of none of the written pairs"), (0.0, None)],
)
def test_a_unit_that_no_pair_tells_apart_has_no_accuracy_but_a_reason(share: float, reason: str | None) -> None:
    scores, prompts = judged(peaks({FRENCH.sides[0][0]: share}), lambda material: 1)
    assert prompts == []
    assert (scores.values["accuracy"], scores.values["pairs"]) == (None, 0)
    assert scores.reason("accuracy") == (reason or "active on one side only of none of the written pairs")


def test_failed_questions_are_unscored() -> None:
    scores, _ = judged(peaks({FRENCH.sides[0][0]: 0.5, GERMAN.sides[0][0]: 0.5}), lambda material: None)
    assert (scores.n, scores.n_unscored, scores.reason("accuracy")) == (0, 2, "no usable answer")


def test_one_pass_reads_the_texts_for_all_units_as_each_alone(opened: Opened) -> None:
    units = [UnitKey("feature", 0, ""), UnitKey("neuron", 1, "+"), UnitKey("feature", 2, "")]
    some = ["filler1 harbour0 filler2", "", "filler3", *(f"filler{i} orchard{i % 5} filler4" for i in range(140))]
    found = largest_activations(UnitReader(opened.subject, opened.dictionary, units), some)
    assert found.shape == (3, len(some))
    for text, column in zip(some, found.T, strict=True):
        [alone] = read_texts(opened.subject, opened.dictionary, units, [text])
        assert column == pytest.approx(alone.activations.max(axis=1, initial=0.0), abs=1e-5)
    [task] = SCORER.subject_tasks(case(), 0, [])
    assert isinstance(task, ReadPeaks)
    assert task.texts == texts()
