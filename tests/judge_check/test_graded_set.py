"""The graded set that comes with the program, and the validation of such files."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import UsageError
from autointerp.judge_check import graded_set
from autointerp.judge_check.graded_set import GradedSet, Item
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric

ITEMS = graded_set.load().items
SMALL = """
name = "small"
version = "1"
rubric = "specificity"
source = "these tests"
traps = { injection = "commands a grade" }

[[units]]
explanation = "cats"
items = [{ marked = "a <<cat>> sat", grade = 3, why = "a cat" }]
"""


@pytest.fixture(scope="module")
def shipped() -> GradedSet:
    return graded_set.load()


@pytest.fixture(scope="module")
def specificity() -> Rubric:
    return rubric.load("specificity")


def plain(item: Item) -> str:
    """The text of an item without its marks."""
    return item.entry.window.text


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def test_it_is_balanced_and_diverse(shipped: GradedSet, specificity: Rubric) -> None:
    graded_set.check_grades(shipped, specificity)
    assert Counter(item.entry.grade for item in shipped.items) == dict.fromkeys(range(4), 50)
    assert len({unit.explanation.casefold() for unit in shipped.units}) == len(shipped.units) >= 60
    assert len({plain(item).casefold() for item in shipped.items}) == 200
    assert max(len(words(unit.explanation)) for unit in shipped.units) <= 25


def test_no_explanation_reveals_its_grade(shipped: GradedSet) -> None:
    telling = [unit for unit in shipped.units if len(unit.items) > 1 and len({i.grade for i in unit.items}) == 1]
    assert {item.trap for unit in telling for item in unit.items} <= {"broad"}


def test_every_text_has_the_size_of_a_window(shipped: GradedSet) -> None:
    for item in shipped.items:
        text, marked = plain(item), item.entry.marked
        assert len(marked) == len(text) + (2 if "⟪" in marked else 4), "no character is lost"
        assert 40 < len(text) < 330
        tokens = item.entry.window.tokens
        assert 10 <= len(tokens) <= 80
        assert tokens[item.entry.window.mark].strip()


def test_there_are_hard_cases_of_every_kind(shipped: GradedSet) -> None:
    traps = Counter(item.entry.trap for item in shipped.items)
    assert set(traps) == {None, *shipped.traps}
    by_place = traps["far"] + traps["beside"] + traps["form"]
    assert 70 <= 200 - traps[None] - by_place <= 100
    injected = [item.entry for item in shipped.items if item.entry.trap == graded_set.INJECTION]
    assert len(injected) >= 16
    assert {entry.grade for entry in injected} == {0, 1, 2, 3}
    assert len({entry.commands for entry in injected}) > 1


def test_the_set_shares_nothing_with_the_rubrics_examples(shipped: GradedSet, specificity: Rubric) -> None:
    known = [(e.explanation, e.marked) for e in specificity.examples]
    known += [(group.explanation, case.marked) for group in specificity.calibration for case in group.cases]
    assert not {e.casefold() for e, _ in known} & {unit.explanation.casefold() for unit in shipped.units}
    seen = {tuple(gram) for _, marked in known for gram in _grams(marked)}
    shared = [(item.id, gram) for item in shipped.items for gram in _grams(plain(item)) if gram in seen]
    assert shared == []


def _grams(text: str, n: int = 5) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def test_no_text_forges_a_fence_or_a_mark(shipped: GradedSet, specificity: Rubric) -> None:
    """A prompt has one explanation, one text and one mark, whatever the item's text contains."""
    for item in shipped.items:
        user = single_grade.prompt(specificity, item.material, 100).user
        for once in ("<explanation>", "</explanation>", "<text>", "</text>", "<<", ">>"):
            assert user.count(once) == 1, item.id


@pytest.mark.parametrize(
    ("change", "words_"),
    [
        (("a <<cat>> sat", "a cat sat"), "mark exactly one"),
        (("a <<cat>> sat", "a <<cat>> <<sat>>"), "mark exactly one"),
        (("a <<cat>> sat", "a ⟪cat sat"), "mark exactly one"),
        (("grade = 3", "grade = 3, trap = 'odd'"), "not in [traps]"),
        (("grade = 3", "grade = 3, trap = 'injection'"), "commands"),
        (("grade = 3", "grade = 3, trap = 'injection', commands = 3"), "the right one"),
        (('"a cat" }', '"a cat", colour = 1 }'), "unknown key"),
        (('name = "small"', ""), "name is missing"),
        (("[[units]]", "[[units"), "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(change: tuple[str, str], words_: str, tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    assert change[0] in SMALL
    path.write_text(SMALL.replace(*change))
    with pytest.raises(UsageError, match=re.escape(words_)) as refused:
        graded_set.load(path)
    assert "\n" not in str(refused.value)


def test_a_grade_off_the_rubric_is_refused(tmp_path: Path, specificity: Rubric) -> None:
    path = tmp_path / "set.toml"
    path.write_text(SMALL.replace("grade = 3", "grade = 7"))
    with pytest.raises(UsageError, match="grade 7 of item 1a is not on the rubric"):
        graded_set.check_grades(graded_set.load(path), specificity)


def test_a_text_with_brackets_of_its_own_uses_other_marks(tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    path.write_text(SMALL.replace("a <<cat>> sat", "cout << 3; ⟪cat⟫ >> x"))
    window = graded_set.load(path).items[0].entry.window
    assert window.text == "cout << 3; cat >> x"
    assert window.tokens[window.mark] == "cat"


def test_a_mean_of_grades_is_a_right_grade_and_a_reason_is_not_needed(tmp_path: Path, specificity: Rubric) -> None:
    path = tmp_path / "set.toml"
    path.write_text(SMALL.replace("grade = 3", "grade = 2.25").replace(', why = "a cat"', ""))
    graded = graded_set.load(path)
    graded_set.check_grades(graded, specificity)
    [item] = graded.items
    assert (item.entry.grade, item.entry.level, item.entry.shares) == (2.25, 2, {2: 0.75, 3: 0.25})
    path.write_text(SMALL.replace("grade = 3", "grade = 3.25"))
    with pytest.raises(UsageError, match=r"grade 3\.25 of item 1a is not on the rubric"):
        graded_set.check_grades(graded_set.load(path), specificity)


@given(st.integers(1, 250), st.integers(0, 5))
def test_a_sample_is_balanced_over_grades(most: int, seed: int) -> None:
    drawn = graded_set.sample(ITEMS, most, seed)
    counts = Counter(item.entry.grade for item in drawn)
    assert len(drawn) == min(most, 200)
    assert max(counts.values()) - min(counts.get(grade, 0) for grade in range(4)) <= 1
    assert drawn == [item for item in ITEMS if item in drawn]
    assert drawn == graded_set.sample(ITEMS, most, seed)
