"""Explanations are told from other text by their form: every sound one is stored as it is said, and nothing else is stored."""

from __future__ import annotations

import json

import pytest
from support.locations import TESTS

from autointerp.prompts import explanation
from autointerp.prompts.replies import ReplyUnusable

LINES = (TESTS / "prompts" / "explanations.txt").read_text("utf-8").splitlines()
SOUND, UNSOUND = ([line[2:] for line in LINES if line.startswith(sign)] for sign in "+-")


def stored(text: str) -> str:
    return explanation.parse(json.dumps({"explanation": text}), 300)


@pytest.mark.parametrize("text", SOUND)
def test_a_sound_explanation_is_stored_as_it_is_said(text: str) -> None:
    assert stored(text) == text


@pytest.mark.parametrize("text", UNSOUND)
def test_a_text_that_is_no_explanation_is_refused(text: str) -> None:
    with pytest.raises(ReplyUnusable):
        stored(text)


def test_the_list_is_long_and_each_text_in_it_once() -> None:
    assert len(SOUND) + len(UNSOUND) >= 200
    assert len({*SOUND, *UNSOUND}) == len(SOUND) + len(UNSOUND)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('"names of rivers"', "names of rivers"),
        ("`names of rivers`", "names of rivers"),
        ('"the"', '"the"'),
        ('"in" or "at"', '"in" or "at"'),
        ("'tis and 'twas", "'tis and 'twas"),
        ('names ending in "s"', 'names ending in "s"'),
    ],
)
def test_only_quotation_marks_around_the_whole_are_removed(text: str, kept: str) -> None:
    assert stored(text) == kept
