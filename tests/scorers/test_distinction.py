"""Distinction: which of five windows does the explanation describe?"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from support.scorers import cases
from support.scorers.scripted_judge import judged

from autointerp.messages import MarkedText, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Exemplar
from autointerp.scorers.base import Case
from autointerp.scorers.distinction import OPTIONS, QUESTIONS, Distinction, options, own_place

SCORER = Distinction()


def case(n_neighbours: int = 10, *, seed: int = 0, sharing: int = 1) -> Case:
    """Feature 0 with windows of ten words that other units answer to."""
    beside = tuple(
        replace(cases.window("feature-0", f"neighbour{i}", 0.0, 500 + i), role="neighbour") for i in range(n_neighbours)
    )
    return replace(cases.case(seed=seed), neighbours=beside, sharing=sharing)


def word(window: MarkedText | Exemplar) -> str:
    return window.tokens[window.mark].strip()


def naming(*also: str) -> Any:
    """A judge that names the unit's window, and those whose marked word is in `also`."""

    def says(material: TaskMaterial) -> Any:
        numbered = enumerate(material.windows, 1)
        fits = [n for n, w in numbered if not word(w).startswith("neighbour") or word(w) in also]
        return {"reason": "", "answers": fits}

    return says


def test_an_explanation_of_its_unit_alone_scores_1_and_one_of_everything_scores_chance() -> None:
    everything = naming(*(f"neighbour{i}" for i in range(10)))
    assert judged(SCORER, case(), naming()).values["told"] == 1
    assert judged(SCORER, case(), everything).values["told"] == pytest.approx(SCORER.chance)


def test_an_explanation_that_fits_one_neighbour_too_shares_the_credit_where_its_window_is_shown() -> None:
    assert judged(SCORER, case(), naming("neighbour0")).values["told"] == pytest.approx((3 + 2 * 0.5) / QUESTIONS)


def test_units_with_the_same_explanation_share_the_credit() -> None:
    values = judged(SCORER, case(sharing=2), naming()).values
    assert values == {"told": 0.5, "credit": 1.0, "sharing": 2.0}


@pytest.mark.parametrize("named", [0, 2, OPTIONS])
def test_a_judge_that_guesses_expects_chance_however_many_windows_it_names(named: int) -> None:
    rng = random.Random(named)
    guess = [
        judged(SCORER, case(seed=seed), lambda m: {"answers": rng.sample(range(1, OPTIONS + 1), named)}).values["told"]
        for seed in range(400)
    ]
    assert sum(value or 0.0 for value in guess) / len(guess) == pytest.approx(SCORER.chance if named else 0, abs=0.03)


def test_the_units_window_is_at_every_place_and_every_neighbour_is_shown() -> None:
    shown = options(case(seed=3))
    assert sorted(own_place(case(seed=3), n) for n in range(QUESTIONS)) == list(range(OPTIONS))
    counts = Counter(word(window) for windows in shown for window in windows)
    assert [counts[f"neighbour{i}"] for i in range(10)] == [2] * 10


def test_own_windows_are_strong_ones() -> None:
    own = [windows[own_place(case(), n)] for n, windows in enumerate(options(case()))]
    assert all(window.activation_fraction >= 0.5 for window in own)
    assert len({window.exemplar_id for window in own}) == QUESTIONS


def test_a_unit_with_few_windows_of_neighbours_has_no_figure() -> None:
    few = case(OPTIONS - 2)
    assert SCORER.questions(few, 0, ()) == []
    assert SCORER.score(few, ()).values["told"] is None


@pytest.mark.parametrize(
    "reply", ["{}", '{"answers": 3}', '{"answers": [6]}', '{"answers": [true]}', '{"answers": ["x"]}']
)
def test_an_unreadable_answer_is_unscored(reply: str) -> None:
    question = SCORER.questions(case(), 0, ())[0]
    with pytest.raises(ReplyUnusable):
        question.parse(reply)
    scores = judged(SCORER, case(), lambda material: reply)
    assert (scores.values["told"], scores.n, scores.n_unscored) == (None, 0, QUESTIONS)


def test_numbers_written_as_text_are_read_and_repeats_count_once() -> None:
    question = SCORER.questions(case(), 0, ())[0]
    assert question.parse(json.dumps({"answers": ["2", 2, 4]})) == [2, 4]
