"""token_texts: one string per token, joined the decoded text, for any vocabulary and any window."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sae.subject.token_text import token_texts

SAMPLE = ["the cat sat on the mat", "日本語の文字 日本", "naïve café", "שלום עולם", "😀😀 👨‍👩‍👧"] * 3


def tokenizer_of(backend: Tokenizer, **special: Any) -> PreTrainedTokenizerFast:
    make: Any = PreTrainedTokenizerFast  # untyped
    tokenizer: PreTrainedTokenizerFast = make(tokenizer_object=backend, **special)
    return tokenizer


def byte_level() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        SAMPLE, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer_of(backend, bos_token="<bos>", additional_special_tokens=["<日>"])


def sentencepiece() -> PreTrainedTokenizerFast:
    """Llama's and Gemma's layout: a block character for the space, and `<0xNN>` for bytes outside the vocabulary."""
    words = ["\u2581the", "\u2581", "c", "a", "t", "日"]
    vocab = {token: n for n, token in enumerate(["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *words])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer_of(backend, unk_token="<unk>")


def word_level() -> PreTrainedTokenizerFast:
    vocab = {token: n for n, token in enumerate(["[UNK]", "cat", "sat", "##ting", "日本"])}
    backend = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    return tokenizer_of(backend, unk_token="[UNK]")


TOKENIZERS = {"byte_level": byte_level(), "sentencepiece": sentencepiece()}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.sampled_from(SAMPLE))
def test_joined_token_texts_are_the_decoded_text(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text, add_special_tokens=False)
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == text.replace("\u2581", " " if name == "sentencepiece" else "\u2581")


@settings(max_examples=100, deadline=None)
@given(text=st.sampled_from(SAMPLE), start=st.integers(0, 20), length=st.integers(0, 20))
def test_any_window_is_valid_text_with_one_replacement_character_at_each_cut_character(
    text: str, start: int, length: int
) -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = tokenizer.encode(text, add_special_tokens=False)[start : start + length]
    texts = token_texts(tokenizer, ids)
    joined = "".join(texts)
    assert len(texts) == len(ids)
    joined.encode()
    inner = joined.removeprefix("\ufffd").removesuffix("\ufffd")
    assert "\ufffd" not in inner
    assert inner in text


def test_a_character_is_the_text_of_the_token_that_completes_it() -> None:
    tokenizer = TOKENIZERS["sentencepiece"]
    ids = tokenizer.encode("cé😀t", add_special_tokens=False)
    assert token_texts(tokenizer, ids) == ["c", "", "é", "", "", "", "😀", "t"]
    assert token_texts(tokenizer, ids[2:]) == ["\ufffd", "", "", "", "😀", "t"]
    assert token_texts(tokenizer, ids[4:6]) == ["\ufffd", ""]
    assert token_texts(tokenizer, ids[:2]) == ["c", "\ufffd"]
    assert token_texts(tokenizer, ids[:1] + ids[1:2] + ids[7:]) == ["c", "", "\ufffdt"]


def test_special_tokens_keep_their_text_and_unknown_ids_have_none() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = tokenizer.encode("<bos>a<日>", add_special_tokens=False)
    assert token_texts(tokenizer, ids) == ["<bos>", "a", "<日>"]
    assert token_texts(tokenizer, [10**6]) == [""]
    assert token_texts(tokenizer, []) == []


def test_other_vocabularies_are_decoded_prefix_by_prefix() -> None:
    tokenizer = word_level()
    ids = tokenizer.encode("cat satting 日本", add_special_tokens=False)
    assert token_texts(tokenizer, ids) == ["cat", " sat", "ting", " 日本"]
