"""Intruder: positions are balanced, nothing reveals the intruder, and what judges of known skill score."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest
from support.planted_world.world import CONCEPTS, marked_word, strength
from support.scorers import cases as scorer_cases
from support.scorers.cases import case, walk

from autointerp.judges.embedded import window_similarity
from autointerp.judges.embedded.grades import cases
from autointerp.judges.embedded.judge import EmbeddedJudge
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.messages import MarkedText, Prompt, TaskMaterial
from autointerp.prompts.replies import ReplyUnusable
from autointerp.scorers.intruder import Intruder
from autointerp.spec.rubric import load

pytestmark = pytest.mark.usefixtures("one_thread")


def concepts(prompt: Prompt) -> list[str]:
    """The concept of each window's marked word."""
    assert isinstance(prompt.material, TaskMaterial)
    found = [strength(marked_word(w.tokens, w.mark)) for w in prompt.material.windows]
    return [known[0] if known else "" for known in found]


def knowing(prompt: Prompt) -> str:
    seen = concepts(prompt)
    odd = Counter(seen).most_common()[-1][0]
    return json.dumps({"reason": "", "answer": 1 + seen.index(odd)})


def test_a_judge_that_knows_the_concepts_finds_every_intruder(opened: scorer_cases.Opened) -> None:
    scores, answers = walk(Intruder(), case(), knowing, opened)
    assert scores.values["accuracy"] == 1
    assert (scores.n, scores.n_unscored) == (10, 0)
    assert [scores.values[f"accuracy_{t}"] for t in range(1, 11)] == [1] * 10
    assert [max(seen) for seen in answers[0]] == [0] * 20


@pytest.mark.parametrize("place", range(1, 6))
@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_always_names_one_position_scores_at_chance(
    opened: scorer_cases.Opened, place: int, seed: int
) -> None:
    scores, _ = walk(Intruder(), case(seed=seed), lambda prompt: json.dumps({"answer": place}), opened)
    assert scores.values["accuracy"] == pytest.approx(0.2)


def test_each_question_has_one_window_of_another_unit_and_four_of_similar_strength(opened: scorer_cases.Opened) -> None:
    asked: list[Prompt] = []
    walk(Intruder(), case(), lambda prompt: asked.append(prompt), opened)
    assert all(sorted(Counter(concepts(p)).values()) == [1, 4] for p in asked)
    assert all(Counter(concepts(p))["harbour"] == 4 for p in asked)
    assert len({c for p in asked for c in concepts(p)}) > 4  # intruders come from all other units in turn
    for prompt in asked:
        assert isinstance(prompt.material, TaskMaterial)
        assert prompt.user.count("<<") == prompt.user.count(">>") == 5
        mine = [strength(marked_word(w.tokens, w.mark)) for w in prompt.material.windows]
        assert len({known for known in mine if known and known[0] == "harbour"}) == 1


def test_accuracy_is_also_given_by_strength(opened: scorer_cases.Opened) -> None:
    """A judge that knows only strong words is right in the upper half of the maximum and wrong in the lower."""

    def strong_only(prompt: Prompt) -> str:
        assert isinstance(prompt.material, TaskMaterial)
        number = json.loads(knowing(prompt))["answer"]
        weak = sum(marked_word(w.tokens, w.mark).startswith("nearharbour") for w in prompt.material.windows)
        return json.dumps({"answer": number % 5 + 1 if weak == 4 else number})

    scores, _ = walk(Intruder(), case(), strong_only, opened)
    assert [scores.values[f"accuracy_{t}"] for t in range(1, 11)] == [0] * 5 + [1] * 5
    assert scores.values["accuracy"] == 0.5


def test_a_window_that_activates_the_unit_is_never_an_intruder(opened: scorer_cases.Opened) -> None:
    """One of the other units responds to the same words: its windows are read, and left out."""
    strong = scorer_cases.windows(0)[:20]
    same = replace(case(), others=(strong, scorer_cases.windows(3)))
    asked: list[Prompt] = []
    walk(Intruder(), same, lambda prompt: asked.append(prompt), opened)
    assert len(asked) == 10
    assert all(Counter(concepts(p)) == {"harbour": 4, CONCEPTS[3]: 1} for p in asked)
    only = replace(case(), others=(strong,))
    scores, _ = walk(Intruder(), only, knowing, opened)
    assert (scores.n, scores.values["accuracy"]) == (0, None)


def test_few_windows_give_few_questions(opened: scorer_cases.Opened) -> None:
    for n, questions in ((3, 0), (4, 1), (9, 2)):
        few = replace(case(), active=case().active[:n])
        assert walk(Intruder(), few, knowing, opened)[0].n == questions
    alone = replace(case(), others=())
    assert walk(Intruder(), alone, knowing, opened)[0].values["accuracy"] is None


def test_failed_questions_are_unscored(opened: scorer_cases.Opened) -> None:
    replies = iter(['{"answer": 6}', '{"answer": "2"}', "no", None, *['{"answer": 1}'] * 6])
    scores, answers = walk(Intruder(), case(), lambda prompt: next(replies), opened)
    assert answers[1][:4] == [None, 2, None, None]
    assert (scores.n, scores.n_unscored) == (7, 3)
    unread, _ = walk(Intruder(), case(), knowing)
    assert (unread.n, unread.values["accuracy"]) == (0, None)


def test_the_questions_are_the_same_when_asked_again(opened: scorer_cases.Opened) -> None:
    def users() -> list[str]:
        asked: list[str] = []
        walk(Intruder(), case(seed=5), lambda prompt: asked.append(prompt.user), opened)
        return asked

    assert users() == users()
    assert len(set(users())) == 10


def test_an_answer_outside_1_to_5_is_unusable(opened: scorer_cases.Opened) -> None:
    read = opened.run_tasks(case().unit, Intruder().subject_tasks(case(), 0, []))
    question = Intruder().questions(case(), 1, [read])[0]
    for reply in ('{"answer": 0}', '{"answer": true}', '{"answer": 1.0}', '{"answer": 1, "answer": 2}', "{}"):
        with pytest.raises(ReplyUnusable):
            question.parse(reply)


def test_the_embedded_judge_finds_the_odd_window_among_the_rubrics_cases() -> None:
    """For every explanation of the rubric with three windows of grade 2 or 3: those, and one window of another explanation."""
    groups: dict[str, list[MarkedText]] = {}
    for explanation, window, grade in cases(load("specificity")):
        if grade >= 2:
            groups.setdefault(explanation, []).append(window)
    mine = [windows[:3] for windows in groups.values() if len(windows) >= 3]
    others = [windows[0] for windows in groups.values()]
    right = [
        window_similarity.least_similar([*windows, other], lexicon()) == 3
        for windows in mine
        for other in others
        if other not in windows
    ]
    assert len(right) > 300
    assert fmean(right) > 0.7


def test_the_embedded_judge_finds_most_intruders(opened: scorer_cases.Opened) -> None:
    judge = EmbeddedJudge(load("specificity"))
    scores, _ = walk(Intruder(), case(), lambda prompt: judge.ask(prompt).text, opened)
    assert (scores.n, scores.n_unscored) == (10, 0)
    assert scores.values["accuracy"] is not None
    assert scores.values["accuracy"] > 0.5
