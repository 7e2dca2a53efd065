"""The embedding scorer ranks windows by similarity to the explanation, without asking a judge."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support.scorers.scripted_judge import UNIT, case, exemplar

from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.scorers.base import Case
from autointerp.scorers.embedding import Embedding

EMBEDDING = Embedding()
SEA = ["sailors", "ships", "harbour", "anchor", "sails", "captain", "deck"]
KITCHEN = ["oven", "flour", "butter", "recipe", "dough", "sugar", "kitchen"]


def topics(explanation: str, seed: int = 1) -> Case:
    """A unit that is active where a text is about the sea, and silent where it is about a kitchen."""
    rng = random.Random(seed)

    def window(number: int, words: list[str], active: bool) -> tuple[int, list[str], dict[int, float]]:
        return number, [f" {w}" for w in rng.sample(words, 6)], {2: 1.0} if active else {}

    active = tuple(exemplar(*window(i, SEA, True), mark=2) for i in range(10))
    silent = tuple(exemplar(*window(i + 10, KITCHEN, False), mark=2) for i in range(10))
    return Case(UNIT, explanation, active, silent, (), seed)


def test_a_right_explanation_ranks_active_windows_first_and_a_wrong_one_last() -> None:
    assert EMBEDDING.score(topics("ships and sailing at sea"), ()).values == {"auroc": 1.0, "auprc": 1.0}
    assert EMBEDDING.score(topics("baking and cooking"), ()).values["auroc"] == 0.0


def test_an_unrelated_explanation_scores_near_chance() -> None:
    found = EMBEDDING.score(replace(case(60, 60, seed=2), explanation="ships and sailing"), ()).values["auroc"]
    assert found == pytest.approx(0.5, abs=0.15)


def test_the_figure_is_the_auroc_of_word_vector_cosines() -> None:
    unit = topics("wooden things")
    explanation = lexicon().text(unit.explanation)
    active, silent = (
        [float(explanation @ lexicon().text(e.text)) for e in windows] for windows in (unit.active, unit.silent)
    )
    wins = sum((a > q) + 0.5 * (a == q) for a in active for q in silent) / 100
    assert EMBEDDING.score(unit, ()).values["auroc"] == pytest.approx(wins)


def test_no_judge_is_asked_and_all_windows_count() -> None:
    unit = topics("ships")
    assert not EMBEDDING.steps
    assert not EMBEDDING.questions(unit, 0, ())
    assert EMBEDDING.score(unit, ())[1:3] == (20, 0)


def test_it_is_undefined_without_an_explanation_or_without_silent_windows() -> None:
    busy = exemplar(99, [" a", " b"], {1: 0.1}, 0)
    for poor in (replace(topics("ships"), explanation=""), replace(topics("ships"), silent=(busy,))):
        assert EMBEDDING.score(poor, ())[:3] == ({"auroc": None, "auprc": None}, 0, 0)
