"""BOS before contexts, and ids that are never counted."""

from __future__ import annotations

from typing import Any

import pytest
from support.sae.tiny_models import LLAMA, hf, tiny_tokenizer

from sae.errors import SubjectError
from sae.subject.special_tokens import choose_bos, special_ids

CONFIG = hf.LlamaConfig(**LLAMA)


def without(*names: str) -> Any:
    tokenizer = tiny_tokenizer()
    for name in names:
        setattr(tokenizer, name, None)
    return tokenizer


@pytest.mark.parametrize(
    ("setting", "trained_with", "id_", "words"),
    [
        (None, None, None, "because the tokenizer adds none"),
        (None, True, 1, "as the dictionary's files state, although the tokenizer adds none"),
        (None, False, None, "as the dictionary's files state"),
        (True, None, 1, "as corpus.bos sets it"),
        (False, True, None, "although the dictionary's files state that it was trained with it"),
        (True, False, 1, "trained without it"),
    ],
)
def test_the_spec_decides_then_the_dictionary_then_the_tokenizer(
    setting: bool | None, trained_with: bool | None, id_: int | None, words: str
) -> None:
    bos = choose_bos(tiny_tokenizer(), CONFIG, setting=setting, trained_with=trained_with)
    assert bos.id == id_
    assert words in bos.statement


def test_a_tokenizer_without_bos_uses_eos_and_one_without_both_is_refused() -> None:
    bos = choose_bos(without("bos_token"), CONFIG, trained_with=True)
    assert bos.id == 2
    assert "the EOS token" in bos.statement
    with pytest.raises(SubjectError, match=r"corpus\.bos = false"):
        choose_bos(without("bos_token", "eos_token"), CONFIG, setting=True)


def test_another_bos_in_the_config_is_said_and_not_used() -> None:
    bos = choose_bos(tiny_tokenizer(), hf.LlamaConfig(**{**LLAMA, "bos_token_id": 7}), setting=True)
    assert bos.id == 1
    assert "config.json names the id 7" in bos.statement


def test_special_ids_are_those_of_the_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    assert special_ids(tokenizer) == {0, 1, 2}
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert special_ids(tokenizer) == {0, 1, 2, len(tokenizer) - 1}
