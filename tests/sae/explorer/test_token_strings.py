"""Strings of many windows are those of each window decoded alone."""

from __future__ import annotations

import numpy as np
from support.sae.corpora import TOKENIZER
from support.sae.tiny_models import tiny_tokenizer

from sae.explorer.examples import _whole_characters
from sae.explorer.token_strings import TokenStrings
from sae.subject.token_text import token_texts


def test_characters_of_several_tokens_are_put_together_within_their_window() -> None:
    windows = [TOKENIZER(text).input_ids for text in ("plain", "naïve café", "日本 x", "")]
    windows.append(windows[2][1:5])  # begins and ends within a character
    strings = TokenStrings(TOKENIZER)
    ids = np.array([i for window in windows for i in window])
    length = np.array([len(window) for window in windows])
    activations = np.arange(len(ids), dtype=np.float32)
    mark = np.array([0, 3, 0, 0, 1])[: len(windows)]
    keep = length > 0
    codes, moved = _whole_characters(ids, activations, mark[keep], length[keep], strings)
    texts, ends = [strings.strings[code] for code in codes], np.cumsum(length)
    for window, end in zip(windows, ends, strict=True):
        assert texts[end - len(window) : end] == token_texts(TOKENIZER, window)
    first = length[0]
    naive = texts[first : first + length[1]]
    assert naive[2:4] == ["", "ï"]
    assert activations[first + 3] == first + 3
    assert moved.tolist()[0] == 0
    assert texts[ends[1] : ends[1] + 3] == ["", "", "日"]
    assert moved[2] == 2, "the mark moves to the token that completes its character"


def test_a_vocabulary_without_bytes_is_decoded_window_by_window() -> None:
    tokenizer = tiny_tokenizer()
    strings = TokenStrings(tokenizer)
    assert (strings.codes(np.array([5, 6, 7])) == -1).all()
    assert strings.window(np.array([5, 6, 7])) == token_texts(tokenizer, [5, 6, 7])
