"""Simulation: judges of known skill, invalid replies, and neuron-explainer's own scores of the same predictions."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sae import peers
from support.scorers.scripted_judge import FILLER, Says, active_tokens, case, judged, labelled

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import TaskMaterial
from autointerp.prompts.replies import ReplyUnusable
from autointerp.records import Outcome
from autointerp.scorers.base import Case
from autointerp.scorers.simulation import TOP, Simulation, read
from autointerp.spec import rubric

SIMULATION = Simulation()


def predicts(strengths: Mapping[str, int]) -> Says:
    """A judge that predicts these strengths at these tokens, and 0 at others."""

    def says(material: TaskMaterial) -> Any:
        tokens = [t for w in material.windows for t in w.tokens]
        listed = [{"token": n, "strength": strengths[t]} for n, t in enumerate(tokens, 1) if strengths.get(t)]
        return {"strengths": listed}

    return says


def exact(unit: Case) -> Says:
    """A judge that knows every activation, to the nearest tenth of the maximum."""
    tokens = [ta for e in (*unit.active, *unit.silent) for ta in zip(e.tokens, e.token_activations, strict=True)]
    return predicts({t: round(TOP * a / unit.unit.max_activation) for t, a in tokens})


def test_a_judge_that_knows_every_activation_in_whole_tenths_scores_1() -> None:
    unit = case(50, 20, seed=1)
    scores = judged(SIMULATION, unit, exact(unit))
    assert scores.values == pytest.approx(dict.fromkeys(scores.values, 1.0))
    assert scores.n_unscored == 0


def test_one_window_per_bin_and_as_many_silent_ones_are_asked_about() -> None:
    unit = case(200, 20, seed=2)
    asked = [e.bin for e in SIMULATION.windows(unit)]
    assert sorted(asked) == [0] * 10 + list(range(1, 11))
    assert asked != sorted(asked)
    assert len(SIMULATION.questions(unit, 0, ())) == 5


@pytest.mark.parametrize("strength", [0, 6])
def test_a_constant_prediction_scores_0_and_is_not_undefined(strength: int) -> None:
    """Bills et al.'s code returns NaN, so that a unit with nothing predicted would drop out of a mean."""
    unit = case(30, 10, seed=3)

    def says(material: TaskMaterial) -> Any:
        count = sum(len(w.tokens) for w in material.windows)
        return {"strengths": [{"token": n, "strength": strength} for n in range(1, count + 1)]}

    values = judged(SIMULATION, unit, says).values
    assert (values["pearson"], values["spearman"]) == (0.0, 0.0)


def test_guesses_score_0_on_average() -> None:
    rng, scores = random.Random(4), []
    for seed in range(60):
        unit = case(30, 10, seed=seed)
        tokens = [t for e in (*unit.active, *unit.silent) for t in e.tokens]
        scores.append(judged(SIMULATION, unit, labelled(frozenset(rng.sample(tokens, 60)))).values["pearson"] or 0.0)
    assert abs(float(np.mean(scores))) < 4 * float(np.std(scores)) / np.sqrt(len(scores))
    assert SIMULATION.chance == 0


def test_the_correlation_pools_all_tokens_instead_of_averaging_windows() -> None:
    """A judge that is right within windows, but takes weak windows for strong ones, scores lower than one that is right throughout."""
    unit = case(100, 10, seed=5, most=1)
    wrong = {
        t: 10 if a < 2 else 1 for e in unit.active for t, a in zip(e.tokens, e.token_activations, strict=True) if a
    }
    found = judged(SIMULATION, unit, predicts(wrong)).values["pearson"]
    assert found is not None
    assert found < 0.7


def test_a_reply_with_one_invalid_entry_is_unusable() -> None:
    assert read('{"strengths": [{"token": 2, "strength": 7}, {"token": 3, "strength": 0}]}', 3) == [0, 7, 0]
    assert read('{"strengths": []}', 2) == [0, 0]
    for entry in ('{"token": 4, "strength": 1}', '{"token": 0, "strength": 1}', '{"token": 1, "strength": 11}'):
        with pytest.raises(ReplyUnusable) as found:
            read(f'{{"strengths": [{entry}]}}', 3)
        assert found.value.outcome == Outcome.OUT_OF_RANGE
    for text in (
        '{"strengths": [[1, 2]]}',
        '{"strengths": [{"token": true, "strength": 1}]}',
        '{"strengths": [{"token": 1, "strength": 2}, {"token": 1, "strength": 3}]}',
        '{"tokens": []}',
        "[1]",
    ):
        with pytest.raises(ReplyUnusable):
            read(text, 3)


def test_the_windows_of_a_lost_reply_are_unscored() -> None:
    unit = case(200, 20, seed=6)
    right, number = exact(unit), iter(range(99))
    scores = judged(SIMULATION, unit, lambda material: "?" if next(number) == 1 else right(material))
    assert (scores.n, scores.n_unscored) == (16, 4)
    assert scores.values["pearson"] == pytest.approx(1, abs=0.02)
    assert SIMULATION.score(unit, ())[:3] == (dict.fromkeys(SIMULATION.figures), 0, 20)


def test_a_unit_without_explanation_or_active_windows_gets_no_questions() -> None:
    unit = case(5, 5, seed=7)
    for poor in (replace(unit, explanation=""), replace(unit, active=())):
        assert not SIMULATION.questions(poor, 0, ())
        assert SIMULATION.score(poor, ())[:3] == (dict.fromkeys(SIMULATION.figures), 0, 0)


def test_each_token_is_on_its_own_line_and_cannot_break_out_of_it() -> None:
    unit = case(1, 0, seed=8)
    window = replace(unit.active[0], tokens=("\n2 ", "</text>", '"'), token_activations=(0.0, 1.0, 0.0), mark=1)
    user = SIMULATION.questions(replace(unit, active=(window,)), 0, ())[0].prompt.user
    assert user.endswith('>\n1 "\\n2 "\n2 "\uff1c/text>"\n3 "\\""\n</text>')


def test_the_embedded_judge_predicts_activation_at_planted_words() -> None:
    judge, unit = EmbeddedJudge(rubric.load("specificity")), case(40, 10, seed=9, most=1)
    filler = [*FILLER, "here", "so"]
    rng = random.Random(9)

    def spoken(e: Any) -> Any:
        tokens = [" apples" if a else f" {rng.choice(filler)}" for a in e.token_activations]
        return replace(e, tokens=tuple(tokens))

    active, silent = (tuple(map(spoken, windows)) for windows in (unit.active, unit.silent))
    unit = replace(unit, active=active, silent=silent, explanation="the word apples")
    answers = [q.parse(judge.ask(q.prompt).text) for q in SIMULATION.questions(unit, 0, ())]
    assert (SIMULATION.score(unit, [answers]).values["pearson"] or 0) > 0.6


def test_the_figures_equal_those_of_neuron_explainers_own_code(tmp_path: Path) -> None:
    """On the same numbers: true activations in whole tenths of the maximum, and a fallible judge's predictions."""
    given, ours = [], []
    for seed in range(8):
        unit, rng = case(40, 10, seed=seed), random.Random(seed)
        foreseen = {t: rng.randint(1, 10) for t in sorted(active_tokens(unit)) if rng.random() < 0.6}
        foreseen |= {e.tokens[0]: 4 for e in unit.silent}
        ours.append(judged(SIMULATION, unit, predicts(foreseen)).values)
        windows = SIMULATION.windows(unit)
        truth = [[round(TOP * a / unit.unit.max_activation) for a in e.token_activations] for e in windows]
        given.append([(true, [foreseen.get(t, 0) for t in e.tokens]) for true, e in zip(truth, windows, strict=True)])
    (tmp_path / "given.json").write_text(json.dumps(given))
    theirs = json.loads(
        peers.run("neuron_explainer", peers.PINS / "score_neuron_explainer.py", tmp_path / "given.json")
    )
    for mine, (correlation, squares, deviation) in zip(ours, theirs, strict=True):
        assert mine["pearson"] == pytest.approx(correlation)
        assert mine["square_explained"] == pytest.approx(squares)
        assert mine["deviation_explained"] == pytest.approx(deviation)
