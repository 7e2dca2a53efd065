"""Fuzzing: marks whose number and position reveal nothing, and delphi's own marks and figures on the same windows."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sae import peers
from support.scorers.scripted_judge import FILLER, UNIT, active_tokens, case, exemplar, flags, judged, labelled

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import MarkedText
from autointerp.prompts.untrusted_text import render_window
from autointerp.scorers.base import Case
from autointerp.scorers.fuzzing import THRESHOLD, Fuzzing
from autointerp.spec import rubric
from autointerp.stats import answer_metrics

FUZZING = Fuzzing()


def strong(unit: Case) -> frozenset[str]:
    """The tokens that right marks may be on."""
    found = set()
    for e in unit.active:
        least = THRESHOLD * max(e.token_activations)
        found |= {t for t, a in zip(e.tokens, e.token_activations, strict=True) if a >= least} | {e.tokens[e.mark]}
    return frozenset(found)


def test_a_judge_that_knows_the_tokens_scores_1() -> None:
    unit = case(20, 8, seed=1)
    scores = judged(FUZZING, unit, labelled(active_tokens(unit)))
    assert scores.values == dict.fromkeys(FUZZING.figures, 1.0)
    assert (scores.n, scores.n_unscored) == (28, 0)


def test_a_judge_that_only_tells_windows_apart_has_marks_alone_at_chance() -> None:
    unit = case(40, 20, seed=2)
    known = active_tokens(unit)
    values = judged(FUZZING, unit, flags(lambda n, w: not known.isdisjoint(w.tokens))).values
    assert values["marks_alone"] == FUZZING.chance
    assert values["balanced_accuracy"] == pytest.approx(0.5 * (1 + 20 / 40))


@pytest.mark.parametrize("always", [True, False])
def test_a_constant_answer_scores_at_chance(always: bool) -> None:
    values = judged(FUZZING, case(20, 5, seed=3), flags(lambda n, w: always)).values
    assert values["balanced_accuracy"] == values["marks_alone"] == FUZZING.chance


def test_guesses_score_at_chance_on_average() -> None:
    rng = random.Random(4)
    scores = [judged(FUZZING, case(20, 5, seed=s), flags(lambda n, w: rng.random() < 0.5)).values for s in range(150)]
    assert abs(sum(s["balanced_accuracy"] or 0 for s in scores) / len(scores) - 0.5) < 0.03  # standard error 0.008


@given(st.integers(2, 25), st.integers(0, 10), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_right_marks_are_on_active_tokens_and_wrong_marks_on_silent_ones(n: int, m: int, most: int, seed: int) -> None:
    unit = case(n, m, seed, most=most)
    resting = {
        t for e in (*unit.active, *unit.silent) for t, a in zip(e.tokens, e.token_activations, strict=True) if not a
    }
    known, items = strong(unit), FUZZING.items(unit)
    assert Counter(item.window.tokens for item in items) == Counter(e.tokens for e in (*unit.active, *unit.silent))
    for item in items:
        marked = {item.window.tokens[i] for i in item.window.marks}
        assert marked <= (known if item.truth else resting)
        assert item.active or not item.truth
    active = [item.truth for item in items if item.active]
    assert abs(2 * sum(active) - n) <= 1


def test_number_and_position_of_marks_do_not_reveal_which_are_right() -> None:
    """delphi 0.1.3 puts wrong marks on one fixed token, which alone reveals 95.7% of the answers. Tries every cut on position and number."""
    items = [item for seed in range(150) for item in FUZZING.items(case(10, 5, seed))]
    truth = [item.truth for item in items]
    shapes = [_shape(item.window) for item in items]
    for shape in zip(*shapes, strict=True):
        for cut in sorted(set(shape)):
            blind = answer_metrics.balanced_accuracy(truth, [value > cut for value in shape])
            assert abs((blind or 0.5) - 0.5) < 0.06, (cut, blind)


def _shape(window: MarkedText) -> tuple[float, ...]:
    return window.marks[0], window.marks[-1], len(window.marks), window.marks[-1] - window.marks[0]


def test_wrong_marks_are_right_ones_shifted() -> None:
    unit = case(30, 10, seed=5)
    right, wrong = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for e in unit.active:
        marks = [i for i, t in enumerate(e.tokens) if t in strong(unit)]
        right[tuple(i - marks[0] for i in marks)] += 1
    for item in FUZZING.items(unit):
        if not item.truth:
            wrong[tuple(i - item.window.marks[0] for i in item.window.marks)] += 1
    assert set(wrong) <= set(right)


def test_a_window_without_silent_tokens_gets_right_marks() -> None:
    full = exemplar(0, [" a", " b"], {0: 2.0, 1: 3.0}, 0)
    unit = Case(UNIT, "x", (full, replace(full, exemplar_id="feature-0@7.0")), (), (), 1)
    assert [item.truth for item in FUZZING.items(unit)] == [True, True]
    assert not FUZZING.questions(unit, 0, ())


def test_a_unit_without_silent_windows_is_still_evaluated() -> None:
    """A dense neuron has no silent window. Detection cannot evaluate it, but fuzzing can by the marks within its windows."""
    unit = replace(case(10, 0, seed=6), silent=(exemplar(99, [" a", " b"], {1: 0.1}, 0),))
    scores = judged(FUZZING, unit, labelled(active_tokens(unit)))
    assert (scores.n, scores.values["marks_alone"]) == (10, 1.0)


def test_a_question_shows_marks_and_no_activations() -> None:
    unit = case(10, 5, seed=7)
    for question in FUZZING.questions(unit, 0, ()):
        material: Any = question.prompt.material
        assert all(
            render_window(w) in question.prompt.user and w.marks and not w.activation_levels for w in material.windows
        )
        assert question.prompt.user.count("<<") == question.prompt.user.count(">>")


def test_adjacent_marks_share_one_pair_and_none_can_be_forged() -> None:
    window = MarkedText((" a", " b", " <<c>>", " d", "<", " e"), 1, marks=(1, 2, 5))
    assert render_window(window) == " a<< b \uff1c\uff1cc\uff1e\uff1e>> d\uff1c<< e>>"
    assert render_window(replace(window, marks=())) == render_window(MarkedText(window.tokens, 1))


def test_the_embedded_judge_recognises_marks_on_planted_words() -> None:
    judge, rng = EmbeddedJudge(rubric.load("specificity")), random.Random(8)

    def window(number: int) -> Any:
        tokens, place = [f" {w}" for w in rng.sample(FILLER, 14)], rng.randrange(14)
        tokens[place] = rng.choice([" apples", " pears", " cherries"])
        return exemplar(number, tokens, {place: 3.0}, place)

    unit = Case(UNIT, "names of fruit: apples, pears or cherries", tuple(window(i) for i in range(20)), (), (), 1)
    answers = [question.parse(judge.ask(question.prompt).text) for question in FUZZING.questions(unit, 0, ())]
    assert (FUZZING.score(unit, [answers]).values["marks_alone"] or 0) > 0.8


def test_marks_and_figures_equal_delphis(tmp_path: Path) -> None:
    unit, rng = case(30, 20, seed=9, most=6), random.Random(9)
    # delphi does not mark the exemplar's own token as such: compare windows in which it is strong enough to be marked anyway.
    plain = [e for e in unit.active if e.activation >= THRESHOLD * max(e.token_activations)]
    items = FUZZING.items(unit)
    answers = {item.window.tokens: item.truth if rng.random() < 0.7 else not item.truth for item in items}
    ours = judged(FUZZING, unit, flags(lambda n, w: answers[w.tokens]))
    given = {
        "examples": [{"tokens": e.tokens, "activations": e.token_activations, "active": True} for e in plain],
        "answers": [([item.truth for item in items], [answers[item.window.tokens] for item in items])],
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    [theirs] = json.loads(peers.run("delphi", peers.PINS / "score_delphi.py", tmp_path / "given.json"))
    right = {item.window.tokens: render_window(item.window) for item in items if item.truth}
    pairs = [(right[e.tokens], text) for e, text in zip(plain, theirs["marked"], strict=True) if e.tokens in right]
    assert len(pairs) > 5
    assert all(mine == their for mine, their in pairs)
    for their, mine in (("accuracy", "balanced_accuracy"), ("f1_score", "f1"), ("precision",) * 2, ("recall",) * 2):
        assert theirs["answers"][0][their] == pytest.approx(ours.values[mine])
