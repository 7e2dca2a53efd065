"""Sort: which windows are shown and sorted, how the units alternate, and what judges of known skill score."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.planted_world.world import CONCEPTS, marked_word, strength
from support.scorers.cases import case, walk, windows

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.scorers.sorting import Sort
from autointerp.spec.rubric import load


def concept(window: MarkedText) -> str:
    known = strength(marked_word(window.tokens, window.mark))
    assert known is not None
    return known[0]


def material(prompt: Prompt) -> TaskMaterial:
    assert isinstance(prompt.material, TaskMaterial)
    return prompt.material


def knowing(prompt: Prompt) -> str:
    groups = [{concept(window) for window in group} for group in material(prompt).sets]
    return json.dumps({"answer": 1 + groups.index({concept(material(prompt).windows[0])})})


def test_a_judge_that_knows_the_concepts_sorts_every_window() -> None:
    scores, _ = walk(Sort(), case(), knowing)
    assert scores.values == {"accuracy": 1, "accuracy_near": 1, "accuracy_weighted": 1}
    assert (scores.n, scores.n_unscored) == (8, 0)


@pytest.mark.parametrize("answer", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_judge_that_always_names_one_group_scores_at_chance(answer: int, seed: int) -> None:
    scores, _ = walk(Sort(), case(seed=seed), lambda prompt: json.dumps({"answer": answer}))
    assert scores.values["accuracy"] == 0.5


def test_questions_show_the_strongest_windows_and_ask_about_the_rest() -> None:
    asked: list[Prompt] = []
    walk(Sort(), case(), lambda prompt: asked.append(prompt))
    shown = {window for prompt in asked for group in material(prompt).sets for window in group}
    assert all(strength(marked_word(w.tokens, w.mark))[1] > 0.8 for w in shown)  # type: ignore[index]
    assert not shown & {material(prompt).windows[0] for prompt in asked}
    assert {concept(material(p).windows[0]) for p in asked} == {"harbour"}
    partners = [({concept(w) for group in material(p).sets for w in group} - {"harbour"}).pop() for p in asked]
    assert partners == [*CONCEPTS[1:], CONCEPTS[1]]
    strengths = [strength(marked_word(w.tokens, w.mark))[1] for p in asked for w in material(p).windows]  # type: ignore[index]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] > 0.8 > 0.1 > strengths[-1]
    for prompt in asked:
        assert prompt.user.count("<<") == 11
        assert prompt.user.count("</activating>") == 10
        assert not any(
            window.activation_levels for group in (*material(prompt).sets, material(prompt).windows) for window in group
        )


def test_accuracy_weighted_weights_windows_by_activation() -> None:
    """A judge that is right on the stronger half only has more than half of the weight."""
    turn = iter(range(8))

    def strong_only(prompt: Prompt) -> str:
        right = json.loads(knowing(prompt))["answer"]
        return json.dumps({"answer": right if next(turn) < 4 else 3 - right})

    scores, _ = walk(Sort(), case(), strong_only)
    weights = [window.activation for window in sorted(case().active, key=lambda w: -w.activation)[5:]]
    chosen = [weights[round(i * 34 / 7)] for i in range(8)]
    assert scores.values["accuracy"] == 0.5
    assert scores.values["accuracy_weighted"] == pytest.approx(sum(chosen[:4]) / sum(chosen))
    assert scores.values["accuracy_near"] == 0.5


def test_nothing_is_asked_without_another_unit_or_further_windows() -> None:
    for poor in (
        replace(case(), others=()),
        replace(case(), others=(windows(1)[:4],)),
        replace(case(), active=case().active[:5]),
    ):
        scores, answers = walk(Sort(), poor, knowing)
        assert answers == [[]]
        assert (scores.n, scores.n_unscored, set(scores.values.values())) == (0, 0, {None})


def test_failed_questions_are_unscored() -> None:
    replies = iter([None, '{"answer": 3}', *['{"answer": 1}'] * 6])
    scores, _ = walk(Sort(), case(), lambda prompt: next(replies))
    assert (scores.n, scores.n_unscored) == (6, 2)


def test_the_embedded_judge_sorts_windows_by_their_words() -> None:
    judge = EmbeddedJudge(load("specificity"))
    scores, _ = walk(Sort(), case(), lambda prompt: judge.ask(prompt).text)
    assert scores.n == 8
    assert scores.values["accuracy"] == 1
