"""Intruder: who stands where is balanced, nothing betrays the intruder, and a judge is worth what it knows."""

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


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> scorer_cases.Opened:
    return scorer_cases.opened(tmp_path_factory.mktemp("intruder"))


def concepts(prompt: Prompt) -> list[str]:
    """The concept of each window's marked word."""
    assert isinstance(prompt.material, TaskMaterial)
    found = [strength(marked_word(w.tokens, w.mark)) for w in prompt.material.windows]
    return [known[0] if known else "" for known in found]


def knowing(prompt: Prompt) -> str:
    seen = concepts(prompt)
    odd = Counter(seen).most_common()[-1][0]
    return json.dumps({"reason": "", "answer": 1 + seen.index(odd)})


def test_a_judge_that_knows_finds_all(opened: scorer_cases.Opened) -> None:
    found, brought = walk(Intruder(), case(), knowing, opened)
    assert found.values["accuracy"] == 1
    assert (found.n, found.n_unscored) == (10, 0)
    assert [found.values[f"accuracy_{t}"] for t in range(1, 11)] == [1] * 10
    assert [max(seen) for seen in brought[0]] == [0] * 20


@pytest.mark.parametrize("place", range(1, 6))
@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_always_names_one_place_is_worth_chance(
    opened: scorer_cases.Opened, place: int, seed: int
) -> None:
    found, _ = walk(Intruder(), case(seed=seed), lambda prompt: json.dumps({"answer": place}), opened)
    assert found.values["accuracy"] == pytest.approx(0.2)


def test_each_question_holds_one_window_of_another_unit_and_four_of_like_strength(opened: scorer_cases.Opened) -> None:
    asked: list[Prompt] = []
    walk(Intruder(), case(), lambda prompt: asked.append(prompt), opened)
    assert all(sorted(Counter(concepts(p)).values()) == [1, 4] for p in asked)
    assert all(Counter(concepts(p))["harbour"] == 4 for p in asked)
    assert len({c for p in asked for c in concepts(p)}) > 4  # intruders come from all the others in turn
    for prompt in asked:
        assert isinstance(prompt.material, TaskMaterial)
        assert prompt.user.count("<<") == prompt.user.count(">>") == 5
        mine = [strength(marked_word(w.tokens, w.mark)) for w in prompt.material.windows]
        assert len({known for known in mine if known and known[0] == "harbour"}) == 1


def test_accuracy_by_strength(opened: scorer_cases.Opened) -> None:
    """A judge that knows strong words only is right in the upper half of the maximum and wrong in the lower."""

    def strong_only(prompt: Prompt) -> str:
        assert isinstance(prompt.material, TaskMaterial)
        number = json.loads(knowing(prompt))["answer"]
        weak = sum(marked_word(w.tokens, w.mark).startswith("nearharbour") for w in prompt.material.windows)
        return json.dumps({"answer": number % 5 + 1 if weak == 4 else number})

    found, _ = walk(Intruder(), case(), strong_only, opened)
    assert [found.values[f"accuracy_{t}"] for t in range(1, 11)] == [0] * 5 + [1] * 5
    assert found.values["accuracy"] == 0.5


def test_a_window_in_which_the_unit_is_active_is_no_intruder(opened: scorer_cases.Opened) -> None:
    """Of the other units one answers to the same words: its windows are read, and left out."""
    strong = scorer_cases.windows(0)[:20]
    same = replace(case(), others=(strong, scorer_cases.windows(3)))
    asked: list[Prompt] = []
    walk(Intruder(), same, lambda prompt: asked.append(prompt), opened)
    assert len(asked) == 10
    assert all(Counter(concepts(p)) == {"harbour": 4, CONCEPTS[3]: 1} for p in asked)
    only = replace(case(), others=(strong,))
    found, _ = walk(Intruder(), only, knowing, opened)
    assert (found.n, found.values["accuracy"]) == (0, None)


def test_few_windows_make_few_questions(opened: scorer_cases.Opened) -> None:
    for n, questions in ((3, 0), (4, 1), (9, 2)):
        few = replace(case(), active=case().active[:n])
        assert walk(Intruder(), few, knowing, opened)[0].n == questions
    alone = replace(case(), others=())
    assert walk(Intruder(), alone, knowing, opened)[0].values["accuracy"] is None


def test_what_fails_is_unscored(opened: scorer_cases.Opened) -> None:
    replies = iter(['{"answer": 6}', '{"answer": "2"}', "no", None, *['{"answer": 1}'] * 6])
    found, brought = walk(Intruder(), case(), lambda prompt: next(replies), opened)
    assert brought[1][:4] == [None, 2, None, None]
    assert (found.n, found.n_unscored) == (7, 3)
    unread, _ = walk(Intruder(), case(), knowing)
    assert (unread.n, unread.values["accuracy"]) == (0, None)


def test_asking_again_asks_the_same(opened: scorer_cases.Opened) -> None:
    def users() -> list[str]:
        asked: list[str] = []
        walk(Intruder(), case(seed=5), lambda prompt: asked.append(prompt.user), opened)
        return asked

    assert users() == users()
    assert len(set(users())) == 10


def test_an_answer_that_is_none_of_the_five_is_refused(opened: scorer_cases.Opened) -> None:
    read = opened.does(case().unit, Intruder().work(case(), 0, []))
    question = Intruder().questions(case(), 1, [read])[0]
    for reply in ('{"answer": 0}', '{"answer": true}', '{"answer": 1.0}', '{"answer": 1, "answer": 2}', "{}"):
        with pytest.raises(ReplyUnusable):
            question.parse(reply)


def test_the_embedded_judge_tells_windows_of_the_rubric_apart() -> None:
    """One window of another explanation among three: every explanation of the rubric with three windows of grades 2 and 3."""
    groups: dict[str, list[MarkedText]] = {}
    for explanation, window, grade in cases(load("specificity")):
        if grade >= 2:
            groups.setdefault(explanation, []).append(window)
    mine = [windows[:3] for windows in groups.values() if len(windows) >= 3]
    others = [windows[0] for windows in groups.values()]
    right = [
        window_similarity.least_alike([*windows, other], lexicon()) == 3
        for windows in mine
        for other in others
        if other not in windows
    ]
    assert len(right) > 300
    assert fmean(right) > 0.7


def test_the_embedded_judge_answers_and_says_why(opened: scorer_cases.Opened) -> None:
    judge = EmbeddedJudge(load("specificity"))
    found, _ = walk(Intruder(), case(), lambda prompt: judge.ask(prompt).text, opened)
    assert (found.n, found.n_unscored) == (10, 0)
    assert found.values["accuracy"] is not None
    assert found.values["accuracy"] > 0.5
