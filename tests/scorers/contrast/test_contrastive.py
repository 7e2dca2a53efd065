"""Contrastive: how its pairs are chosen and shown, and what judges of known skill score."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.scorers.cases import case, walk, window

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import Prompt, TaskMaterial
from autointerp.scorers.contrast.contrastive import Contrastive
from autointerp.spec.rubric import load


def material(prompt: Prompt) -> TaskMaterial:
    assert isinstance(prompt.material, TaskMaterial)
    return prompt.material


def knowing(prompt: Prompt) -> str:
    (active,) = [n for n, text in enumerate(material(prompt).windows, 1) if "harbour" in text.text]
    return json.dumps({"answer": active})


def test_a_judge_that_knows_the_concept_finds_every_active_text() -> None:
    scores, _ = walk(Contrastive(), case(), knowing)
    assert scores.values == {"accuracy": 1, "accuracy_weighted": 1}
    assert (scores.n, scores.n_unscored) == (6, 0)


@pytest.mark.parametrize("answer", [1, 2])
def test_a_judge_that_always_gives_one_number_scores_at_chance(answer: int) -> None:
    scores, _ = walk(Contrastive(), case(), lambda prompt: json.dumps({"answer": answer}))
    assert scores.values["accuracy"] == 0.5


def test_the_two_texts_have_no_marks_and_no_text_is_used_twice() -> None:
    asked: list[Prompt] = []
    walk(Contrastive(), case(), lambda prompt: asked.append(prompt))
    silent = [text.text for p in asked for text in material(p).windows if "harbour" not in text.text]
    assert len(set(silent)) == 6
    for prompt in asked:
        assert prompt.user.count("<<") == 5
        assert len(material(prompt).windows) == 2
        assert all(len(text.tokens) == 1 for text in material(prompt).windows)
        shown = {w.text for w in material(prompt).sets[0]}
        assert len(shown) == 5
        assert not shown & {text.text for text in material(prompt).windows}


def test_the_silent_text_is_the_most_similar_one() -> None:
    others = [window("feature-0", "filler59", 0.0, 200 + i) for i in range(5)]
    target = case().active[8]
    words = list(target.tokens)
    words[target.mark] = " filler0"
    twin = replace(others[0], exemplar_id="twin", tokens=tuple(words))
    few = replace(case(), active=(*case().active[:5], replace(target, activation=0.3)), silent=(*others[1:], twin))
    few = replace(few, active=tuple(replace(w, activation=0.9) for w in few.active[:5]) + few.active[5:])
    asked: list[Prompt] = []
    walk(Contrastive(), few, lambda prompt: asked.append(prompt))
    assert {text.text for text in material(asked[0]).windows} == {"".join(words), "".join(target.tokens)}


def test_a_unit_that_is_never_silent_gets_no_questions() -> None:
    noisy = [replace(w, token_activations=(0.1, *w.token_activations[1:])) for w in case().silent]
    scores, answers = walk(Contrastive(), replace(case(), silent=tuple(noisy)), knowing)
    assert answers == [[]]
    assert (scores.n, scores.n_unscored, set(scores.values.values())) == (0, 0, {None})


def test_failed_questions_are_unscored() -> None:
    replies = iter([None, '{"answer": 3}', *['{"answer": 2}'] * 4])
    scores, _ = walk(Contrastive(), case(), lambda prompt: next(replies))
    assert (scores.n, scores.n_unscored) == (4, 2)


def test_the_embedded_judge_finds_the_text_with_the_units_words() -> None:
    judge = EmbeddedJudge(load("specificity"))
    scores, _ = walk(Contrastive(), case(), lambda prompt: judge.ask(prompt).text)
    assert scores.n == 6
    assert scores.values["accuracy"] is not None
    assert scores.values["accuracy"] > 0.8
