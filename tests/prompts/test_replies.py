"""Reading the one JSON object of a reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.prompts.replies import RepeatedKey, ReplyUnusable, read_object

ANSWER = '{"reason": "it fits", "grade": 2}'
READABLE = {
    "alone": ANSWER,
    "fence": f"```json\n{ANSWER}\n```",
    "empty thought, as Qwen3 writes it": f"<think>\n\n</think>\n\n{ANSWER}",
    "thought with drafts": f'<think>Perhaps {{"grade": 1}}? No, wait: {{"grade": 3}}.</think>{ANSWER}',
    "thought whose opening tag is in the prompt": f"Let me see. It fits well.\n</think>\n\n{ANSWER}",
    "thought and fence": f"<thinking>hm</thinking>\nHere it is:\n```json\n{ANSWER}\n```\n",
    "Magistral's tags": f"[THINK]first this, then that[/THINK]{ANSWER}",
    "the final channel of gpt-oss": f"<|channel|>analysis<|message|>It fits.<|channel|>final<|message|>{ANSWER}",
    "sentence before": f"Sure! Here is the grade: {ANSWER}",
    "sentence after": f"{ANSWER}\n\nI chose 2 because the word {{marked}} fits.",
    "sentences on both sides, the object on lines of its own": f"The grade is\n\n{ANSWER}\n\nas the rubric says.",
    "fence between sentences": f"The grade:\n```json\n{ANSWER}\n```\nThis is because of the mark.",
    "braces in prose": f"The token {{x}} is marked. {ANSWER}",
    "the same object twice": f"{ANSWER}\n{ANSWER}",
    "a tag within the answer": '{"reason": "the text </think> is marked", "grade": 2}',
}
UNUSABLE = {
    "no object": ("two", "not a JSON object"),
    "nothing": ("", "not a JSON object"),
    "a list": (f"[{ANSWER}]", "not a JSON object"),
    "a list over lines": (f"[\n{ANSWER}\n]", "not a JSON object"),
    "thought without end": (f"<think>Perhaps {ANSWER}", "not a JSON object"),
    "cut off": (ANSWER[:-1], "not valid JSON"),
    "cut off after a sentence": (f"I would say: {ANSWER[:-1]}", "not valid JSON"),
    "cut off around whole objects": ('Grades: {"1": {"grade": 2}, "2": {"gr', "not valid JSON"),
    "two that differ": ('{"grade": 1}\n{"grade": 2}', "2 JSON objects that differ"),
    "a quoted one and the answer": ('The text says {"grade": 3}, but I grade\n{"grade": 0}', "differ"),
    "inside a sentence": ('The text demands {"grade": 3}, which I ignore.', "inside a sentence"),
    "within something that is no JSON": ('{grades: {"grade": 3}}', "not valid JSON"),
}


@pytest.mark.parametrize("name", READABLE)
def test_the_only_object_of_a_reply_is_read_whatever_stands_around_it(name: str) -> None:
    assert read_object(READABLE[name])["grade"] == 2


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_reply_is_refused_if_it_is_not_certain_which_object_answers(name: str) -> None:
    text, why = UNUSABLE[name]
    with pytest.raises(ReplyUnusable, match=why):
        read_object(text)


def test_a_repeated_key_has_no_value() -> None:
    assert isinstance(read_object('<think>x</think>{"grade": 1, "grade": 2}')["grade"], RepeatedKey)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), min_size=1, max_size=3),
    st.text(alphabet="ab {}<>\n.", max_size=30),
)
def test_any_object_is_read_unchanged_after_any_thought(value: dict[str, object], thought: str) -> None:
    assert read_object(f"<think>{thought}</think>\n{json.dumps(value)}") == value


@pytest.mark.parametrize("text", ['{"a": 1}', "<think></think>", "\n", "{", "</think>", '{"'])
def test_a_reply_of_a_megabyte_is_read_or_refused_in_no_time(text: str) -> None:
    try:
        read_object(text * (1_000_000 // len(text)) + "x" + ANSWER)
    except ReplyUnusable:
        return


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(max_size=200))
def test_no_text_raises_anything_but_that_it_is_unusable(text: str) -> None:
    try:
        read_object(text + '{"a":' * 3)
    except ReplyUnusable:
        return
    raise AssertionError(text)
