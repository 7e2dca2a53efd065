"""Documents as token ids of the subject: text is encoded, conversations go through the chat template, and ids made elsewhere are
compared with the subject's tokenizer."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from sae.corpus.documents import Conversation, Document, TokenIds
from sae.corpus.sources import Piece
from sae.errors import CorpusError, one_line

COMPARED_DOCUMENTS = 32
COMPARED_IDS = 512
"""Ids of each compared document."""
LEAST_EQUAL = 0.98
"""Share of ids, one of each document aside, that have to stay the same when the subject's tokenizer decodes and encodes them. Its own
ids do, but for the edges of a document; another tokenizer's ids decode to words in pieces that are encoded differently."""


class Turn(NamedTuple):
    """A message of a conversation: its role, and its number from 1."""

    role: str
    number: int


@dataclass(frozen=True)
class Encoded:
    """Token ids of a document. `template` marks those of the chat template; None if there are none. `turns` holds the turn of each token,
    None for a token of the template; it is empty for text and token ids."""

    ids: Sequence[int]
    template: Sequence[bool] | None = None
    turns: Sequence[Turn | None] = ()


def encode(tokenizer: Any, documents: Sequence[Document], *, count_template: bool = False) -> list[Encoded]:
    """Each document in the subject's tokens, without BOS. Raises `CorpusError` if the tokenizer or its chat template fails.

    `count_template`: mark no token as the template's.
    """
    texts = iter(_encode_texts(tokenizer, [document for document in documents if isinstance(document, str)]))
    result = []
    for document in documents:
        if isinstance(document, str):
            result.append(Encoded(next(texts)))
        elif isinstance(document, TokenIds):
            result.append(Encoded(document.ids))
        else:
            ids, turns = _encode_conversation(tokenizer, document)
            template = None if count_template else [turn is None for turn in turns]
            result.append(Encoded(ids, template, turns))
    return result


def template_fingerprint(tokenizer: Any) -> str:
    """sha-256 of the tokenizer's chat template."""
    return hashlib.sha256(str(tokenizer.chat_template).encode("utf-8", "replace")).hexdigest()


def _encode_texts(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    try:
        encoded = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
    except Exception as error:
        raise CorpusError(f"the subject's tokenizer cannot encode the corpus: {one_line(error)}") from error
    return [_without_bos(ids, tokenizer) for ids in encoded["input_ids"]]


def _without_bos(ids: list[int], tokenizer: Any) -> list[int]:
    """The ids without a first BOS, such as one written in a text, because contexts get theirs anyway."""
    return ids[1:] if ids and ids[0] == tokenizer.bos_token_id else ids


def _encode_conversation(tokenizer: Any, document: Conversation) -> tuple[list[int], list[Turn | None]]:
    """Ids, and the message of whose text each is a part, if any. BOS at the start, which contexts get anyway, is removed."""
    if not tokenizer.chat_template:
        raise CorpusError(
            f"{document.where} holds a conversation, but the subject has no chat template: use the chat model as the subject, or"
            " set corpus.text_field to a field with text"
        )
    if not document.messages:
        return [], []
    contents = [message["content"].strip() for message in document.messages]
    try:
        text = tokenizer.apply_chat_template(list(document.messages), tokenize=False)
        places = _between_literals(contents, text, _literals(tokenizer, document)) or _in_order(contents, text)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except Exception as error:
        raise CorpusError(
            f"{document.where} holds a conversation that the subject's chat template refuses: {one_line(error)}; remove it, or"
            " set corpus.text_field to a field with text"
        ) from None
    ids = list(encoded["input_ids"])
    turns: list[Turn | None] = [None] * len(ids)
    token = 0
    for number, start, end in places:
        turn = Turn(document.messages[number - 1]["role"], number)
        while token < len(ids) and encoded["offset_mapping"][token][0] < end:
            turns[token] = None if encoded["offset_mapping"][token][1] <= start else turn
            token += 1
    first = len(ids) - len(_without_bos(ids, tokenizer))
    return ids[first:], turns[first:]


def _literals(tokenizer: Any, document: Conversation) -> list[str]:
    """The template's own text before, between and after the contents of messages; contents that are empty have no place."""
    messages = [
        {**message, "content": f"\ue000{number}\ue001" if message["content"].strip() else ""}
        for number, message in enumerate(document.messages)
    ]
    return re.split("\ue000\\d+\ue001", tokenizer.apply_chat_template(messages, tokenize=False))


def _between_literals(contents: Sequence[str], text: str, literals: Sequence[str]) -> list[tuple[int, int, int]]:
    """Number from 1, start and end of each content in the text; empty if the template does more than to surround the contents."""
    places, at, after = [], 0, iter(literals)
    for number, content in enumerate(contents, 1):
        if content:
            at += len(next(after, ""))
            places.append((number, at, at + len(content)))
            at += len(content)
    filled = "".join(
        part for pair in itertools.zip_longest(literals, filter(None, contents), fillvalue="") for part in pair
    )
    return places if filled == text else []


def _in_order(contents: Sequence[str], text: str) -> list[tuple[int, int, int]]:
    """As `_between_literals`, for any template: each content where it first occurs after the one before; left out if it does not."""
    places, at = [], 0
    for number, content in enumerate(contents, 1):
        start = text.find(content, at) if content else -1
        if start >= 0:
            at = start + len(content)
            places.append((number, start, at))
    return places


def check_token_ids(pieces: Iterable[Piece], tokenizer: Any) -> Iterator[Piece]:
    """The pieces of one source. Token ids are compared with the tokenizer, stripped of padding, and split at BOS.

    Raises `CorpusError` if ids are outside the vocabulary, or are not those that the tokenizer gives the text they decode to.
    """
    bos, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
    documents = compared = equal = 0
    where = ""
    for piece in pieces:
        document = piece[0]
        if not isinstance(document, TokenIds):
            yield piece
            continue
        where = document.where
        _check_vocabulary(document, len(tokenizer))
        for ids in _split(document.ids, bos, pad):
            if documents < COMPARED_DOCUMENTS:
                documents += 1
                sample = ids[:COMPARED_IDS]
                compared, equal = compared + len(sample), equal + _equal_ids(tokenizer, sample)
                if documents == COMPARED_DOCUMENTS:
                    _check_equal(equal + documents, compared, where)
            yield TokenIds(ids, where), True
    if documents < COMPARED_DOCUMENTS:
        _check_equal(equal + documents, compared, where)


def _split(ids: tuple[int, ...], bos: int | None, pad: int | None) -> Iterator[tuple[int, ...]]:
    """The stretches between BOS tokens, without padding at their ends."""
    starts = [-1, *(n for n, i in enumerate(ids) if i == bos), len(ids)]
    for before, end in itertools.pairwise(starts):
        first = before + 1
        while first < end and ids[first] == pad:
            first += 1
        while end > first and ids[end - 1] == pad:
            end -= 1
        if first < end:
            yield ids[first:end]


def _equal_ids(tokenizer: Any, ids: tuple[int, ...]) -> int:
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    again = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    matches = SequenceMatcher(None, ids, again, autojunk=False).get_matching_blocks()
    return sum(match.size for match in matches)


def _check_vocabulary(document: TokenIds, size: int) -> None:
    if outside := next((i for i in document.ids if not 0 <= i < size), None):
        raise CorpusError(
            f"{document.where} holds the token id {outside}, and the subject's vocabulary has {size:,}: the ids are another"
            " tokenizer's; set corpus.text_field to a field with text"
        )


def _check_equal(equal: int, compared: int, where: str) -> None:
    if equal < LEAST_EQUAL * compared:
        raise CorpusError(
            f"{where} holds token ids of another tokenizer: of {compared:,} ids only {equal:,} stay the same when the subject's"
            " tokenizer decodes and encodes them; set corpus.text_field to a field with text"
        )
