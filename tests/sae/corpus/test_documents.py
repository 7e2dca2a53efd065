"""Documents: a column's values decide whether it holds text, token ids or conversations; anything else is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sae.corpus import documents
from sae.corpus.documents import Conversation, TokenIds, check_texts_are_prose, check_undamaged, document_of
from sae.errors import CorpusError


def test_the_value_decides_the_kind_of_document() -> None:
    assert document_of({"t": "words"}, "t", "here") == "words"
    assert document_of({"t": None}, "t", "here") == ""
    assert document_of({"t": [3, 4]}, "t", "here") == TokenIds((3, 4), "here")


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}],
        [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}],
        {"role": ["user", "assistant"], "content": ["hi", "yes"]},
        [
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image"}]},
            {"from": "gpt", "value": "yes"},
        ],
        [{"role": "User", "content": "hi"}, {"role": "model", "content": ["y", "es"]}],
        [{"role": "prompter", "content": "hi", "weight": None}, {"role": "Assistant", "content": "yes"}],
    ],
)
def test_conversations_are_read_in_every_customary_form(value: Any) -> None:
    messages = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"})
    assert document_of({"t": value}, "t", "here") == Conversation(messages, "here")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(3, "int"), (0.5, "float"), (True, "bool"), (b"x", "bytes"), (["a"], "a list of str"), ([0.5], "a list of float"),
     ([[1]], "a list of list"), ({"a": 1}, "dict"), ([{"a": 1}], "messages without role and content"),
     ([{"role": "user", "text": "hi"}], "messages without role and content"),
     ([{"role": "user", "content": {"parts": ["hi"]}}], "messages without role and content"),
     ([{"role": "user", "content": [{"type": "text", "text": {"value": "hi"}}]}], "messages without role and content"),
     ([{"human": "hi", "assistant": "yes"}], "messages without role and content")],
)  # fmt: skip
def test_other_values_are_refused_by_their_kind(value: Any, kind: str) -> None:
    with pytest.raises(CorpusError, match=rf"here field 't' holds {kind}.*set corpus.text_field"):
        document_of({"t": value}, "t", "here")


def test_documents_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LONGEST_DOCUMENT", 10)
    for value in ("x" * 11, [1] * 11, [{"role": "user", "content": "x" * 11}]):
        with pytest.raises(CorpusError, match="characters, the most of one document: split it"):
            document_of({"t": value}, "t", "here")


@pytest.mark.parametrize(
    "texts",
    [
        ['[{"role": "user", "content": "hi"}]'] * 9,
        ["[{'from': 'human', 'value': 'hi'}]"],
        ["[1, 2, 3]", "[4]", "[]"],
        ["274 275 323", "18, 20, 33"],
        ["[101 2023\n 102]"] * 6,
        ['{"text": "a"}'] * 5,
        ["12", "7", "3.5"],
        ['["a", "b"]'] * 5,
    ],
)
def test_columns_of_data_written_as_text_are_refused(texts: list[str]) -> None:
    with pytest.raises(CorpusError, match="holds JSON or numbers written as text"):
        list(check_texts_are_prose(texts, "t", "here"))


@pytest.mark.parametrize(
    "texts", [["[1] Smith et al."], ["12", "words"], ["{x} in sets"], ["1,000 ships"], ["", ""], []]
)
def test_prose_with_brackets_and_numbers_is_kept(texts: list[str]) -> None:
    assert list(check_texts_are_prose(texts, "t", "here")) == texts


def test_texts_damaged_by_an_earlier_decoding_are_refused() -> None:
    def long(share: float) -> Iterable[str]:
        return (("x" * 999 + "\ufffd" if n < share * 1000 * 1000 else "x" * 1000) for n in range(3000))

    with pytest.raises(CorpusError, match=r"is damaged: .* replacement or NUL characters"):
        list(check_undamaged(["caf\ufffd und Gr\ufffd\ufffde"] * 40, "here"))
    with pytest.raises(CorpusError, match="is damaged"):
        list(check_undamaged(["h\0e\0l\0l\0o\0"] * 40, "here"))
    assert len(list(check_undamaged(long(0.001), "here"))) == 3000
    assert len(list(check_undamaged(["one \ufffd"], "here"))) == 1


def test_a_message_that_only_calls_a_tool_has_empty_content() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]
    document = document_of({"t": messages}, "t", "here")
    assert isinstance(document, Conversation)
    assert [message["content"] for message in document.messages] == ["hi", ""]
