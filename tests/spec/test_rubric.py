"""Rubrics: the paper's levels word for word, and a one-line error for a bad file."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.errors import UsageError
from autointerp.spec import rubric

PAPER = (
    "The feature is completely irrelevant throughout the context (relative to the base distribution of the internet).",
    "The feature is related to the context, but not near the highlighted text or only vaguely related.",
    "The feature is only loosely related to the highlighted text or related to the context near the highlighted text.",
    "The feature cleanly identifies the activating text.",
)

SMALL = """
name = "small"
version = "1"
source = "a test"
score_instructions = "grade"
explain_instructions = "explain"
levels = [{ grade = 0, text = "no" }, { grade = 1, text = "yes" }]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_specificity_quotes_the_paper() -> None:
    loaded = rubric.load("specificity")
    assert tuple(level.text for level in loaded.levels) == PAPER
    assert loaded.grades == (0, 1, 2, 3)
    assert "specificity" in rubric.available()


def test_specificity_examples_cover_all_grades_and_resist_injection() -> None:
    loaded = rubric.load("specificity")
    assert {example.grade for example in loaded.examples} == {0, 1, 2, 3}
    hostile = [e for e in loaded.examples if "ignore the rubric" in e.marked]
    assert [e.grade for e in hostile] == [0]
    graded = [case.grade for group in loaded.calibration for case in group.cases]
    assert min(graded.count(grade) for grade in loaded.grades) >= 15


def test_prompt_examples_are_not_calibration_cases() -> None:
    loaded = rubric.load("specificity")
    calibrated = {case.marked for group in loaded.calibration for case in group.cases}
    assert calibrated.isdisjoint(example.marked for example in loaded.examples)


def test_a_window_without_marks_is_its_text() -> None:
    loaded = rubric.load("specificity")
    for case in [*loaded.examples, *(case for group in loaded.calibration for case in group.cases)]:
        window = case.window
        assert window.text == case.marked.replace("<<", "").replace(">>", "")
        assert f"<<{window.tokens[window.mark]}>>" in case.marked


def test_rubrics_may_have_any_number_of_levels(tmp_path: Path) -> None:
    levels = ", ".join(f'{{ grade = {grade}, text = "level {grade}" }}' for grade in range(6))
    text = SMALL.split("levels")[0] + f"levels = [{levels}]"
    assert rubric.load(str(write(tmp_path, text))).grades == (0, 1, 2, 3, 4, 5)


def test_the_hash_changes_with_the_content(tmp_path: Path) -> None:
    first = rubric.load(write(tmp_path, SMALL))
    assert first.hash == rubric.load(write(tmp_path, "# a comment\n" + SMALL)).hash
    assert first.hash != rubric.load(write(tmp_path, SMALL.replace('"yes"', '"indeed"'))).hash


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (SMALL.replace("grade = 1", "grade = 2"), "[0, 2]"),
        (SMALL.replace("grade = 1", 'grade = "1"'), "levels[1].grade"),
        (SMALL.replace('version = "1"\n', ""), "version"),
        (SMALL + 'colour = "red"\n', "colour"),
        (SMALL + '[[examples]]\nexplanation = "e"\nmarked = "no mark"\ngrade = 0\nreason = "r"\n', "no mark"),
        (SMALL + '[[examples]]\nexplanation = "e"\nmarked = "<<a>> <<b>>"\ngrade = 0\nreason = "r"\n', "<<a>> <<b>>"),
        (SMALL + '[[examples]]\nexplanation = "e"\nmarked = "an <<a>>"\ngrade = 7\nreason = "r"\n', "grade 7"),
        (SMALL + '[[calibration]]\nexplanation = "e"\ncases = [{ marked = "<<a>>", grade = 2 }]\n', "grade 2"),
        ("name = ", "not valid TOML"),
    ],
)
def test_an_invalid_rubric_is_refused_in_one_line(tmp_path: Path, text: str, names: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        rubric.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert names in message
    assert str(path) in message


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'specifisity' is unknown: use one of .*specificity"):
        rubric.load("specifisity")


def test_an_undecodable_rubric_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe name")
    with pytest.raises(UsageError, match="cannot be read"):
        rubric.load(path)
