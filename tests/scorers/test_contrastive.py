"""Contrastive: the silent text of a pair is the likest there is, neither is marked, and a judge is worth what it knows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.scorers.cases import case, walk, window

from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.messages import Prompt, TaskMaterial
from autointerp.scorers.contrastive import Contrastive
from autointerp.spec.rubric import load


def material(prompt: Prompt) -> TaskMaterial:
    assert isinstance(prompt.material, TaskMaterial)
    return prompt.material


def knowing(prompt: Prompt) -> str:
    (active,) = [n for n, text in enumerate(material(prompt).windows, 1) if "harbour" in text.text]
    return json.dumps({"answer": active})


def test_a_judge_that_knows_finds_all() -> None:
    found, _ = walk(Contrastive(), case(), knowing)
    assert found.values == {"accuracy": 1, "accuracy_weighted": 1}
    assert (found.n, found.n_unscored) == (6, 0)


@pytest.mark.parametrize("answer", [1, 2])
def test_a_judge_that_always_names_one_place_is_worth_chance(answer: int) -> None:
    found, _ = walk(Contrastive(), case(), lambda prompt: json.dumps({"answer": answer}))
    assert found.values["accuracy"] == 0.5


def test_pairs_have_no_marks_and_differ() -> None:
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


def test_the_silent_text_is_the_likest() -> None:
    likeness = [replace(window("feature-0", "filler59", 0.0, 200 + i)) for i in range(5)]
    target = case().active[8]
    words = list(target.tokens)
    words[target.mark] = " filler0"
    twin = replace(likeness[0], exemplar_id="twin", tokens=tuple(words))
    few = replace(case(), active=(*case().active[:5], replace(target, activation=0.3)), quiet=(*likeness[1:], twin))
    few = replace(few, active=tuple(replace(w, activation=0.9) for w in few.active[:5]) + few.active[5:])
    asked: list[Prompt] = []
    walk(Contrastive(), few, lambda prompt: asked.append(prompt))
    assert {text.text for text in material(asked[0]).windows} == {"".join(words), "".join(target.tokens)}


def test_a_unit_that_is_never_silent_is_asked_nothing() -> None:
    noisy = [replace(w, token_activations=(0.1, *w.token_activations[1:])) for w in case().quiet]
    found, brought = walk(Contrastive(), replace(case(), quiet=tuple(noisy)), knowing)
    assert brought == [[]]
    assert (found.n, found.n_unscored, set(found.values.values())) == (0, 0, {None})


def test_what_fails_is_unscored() -> None:
    replies = iter([None, '{"answer": 3}', *['{"answer": 2}'] * 4])
    found, _ = walk(Contrastive(), case(), lambda prompt: next(replies))
    assert (found.n, found.n_unscored) == (4, 2)


def test_the_embedded_judge_finds_words_it_knows() -> None:
    judge = EmbeddedJudge(load("specificity"))
    found, _ = walk(Contrastive(), case(), lambda prompt: judge.ask(prompt).text)
    assert found.n == 6
    assert found.values["accuracy"] is not None
    assert found.values["accuracy"] > 0.8
