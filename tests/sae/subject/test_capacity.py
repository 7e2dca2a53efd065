"""Positions and token ids that a subject has."""

from __future__ import annotations

from typing import Any

import pytest
from support.sae.tiny_models import LLAMA, VOCAB, D, hf, refused, tiny_model, tiny_tokenizer

from sae.subject.capacity import check_context, check_ids, n_positions
from sae.subject.model import Subject

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
OPT = {
    "hidden_size": D,
    "word_embed_proj_dim": D,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 40,
    "vocab_size": VOCAB,
}
CONFIGS: dict[str, tuple[Any, int | None]] = {
    "learned": (hf.GPT2Config(n_embd=D, n_layer=2, n_head=2, vocab_size=VOCAB, n_positions=24), 24),
    "learned after an offset": (hf.OPTConfig(**OPT, max_position_embeddings=40), 40),
    "rotary": (hf.LlamaConfig(**LLAMA), 32),
    "rotary, scaled": (hf.LlamaConfig(**LLAMA, rope_parameters=YARN), 128),
    "alibi": (hf.BloomConfig(hidden_size=D, n_layer=2, n_head=2, vocab_size=VOCAB), None),
}


def subject_of(config: Any) -> Subject:
    return Subject(tiny_model(config), tiny_tokenizer(), name="tiny", fingerprint="0")


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_longest_context_is_known_by_architecture(kind: str) -> None:
    config, positions = CONFIGS[kind]
    subject = subject_of(config)
    assert n_positions(subject) == positions
    check_context(subject, positions or 100_000)
    if positions:
        refused(lambda: check_context(subject, positions + 1), "corpus.context_tokens", str(positions))


def test_ids_without_an_embedding_are_refused_by_name() -> None:
    subject = subject_of(hf.LlamaConfig(**LLAMA))
    subject.tokenizer.add_tokens(["<extra>"])
    check_ids(subject, VOCAB - 1)
    refused(lambda: check_ids(subject, VOCAB), "<extra>", "has embeddings of 64 tokens")
    subject.bos_id = VOCAB
    refused(lambda: check_ids(subject, 3), "BOS has the token")
