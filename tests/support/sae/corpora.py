"""Corpora of text files, tokenised byte by byte, so that a test can compare what was read with what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sae.corpus.corpus import Corpus, open_corpus
from sae.subject.token_text import _byte_characters

BOS, PAD = 256, 257


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A real byte-level tokenizer without merges: one token a byte."""
    vocab = {character: n for n, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast  # untyped
    tokenizer: PreTrainedTokenizerFast = make(tokenizer_object=backend, bos_token="<bos>", pad_token="<pad>")
    return tokenizer


TOKENIZER = byte_tokenizer()
BYTE_OF = {TOKENIZER.convert_tokens_to_ids(character): byte for byte, character in _byte_characters().items()}


def opened(*sources: object, **changes: object) -> Corpus:
    settings: dict[str, object] = {
        "tokenizer": TOKENIZER,
        "tokenizer_fingerprint": "t",
        "context_tokens": 16,
        "max_tokens": 10_000_000,
        "bos_id": BOS,
        "special_ids": {BOS, PAD},
    }
    return open_corpus([str(s) for s in sources], **(settings | changes))  # type: ignore[arg-type]


def documents(corpus: Corpus) -> list[str]:
    """Every document's text, in order of its number, put together from its contexts by their positions."""
    parts: dict[int, dict[int, list[int]]] = {}
    for row in corpus.contexts:
        tokens = corpus.tokens[row["offset"] : row["offset"] + row["length"]].tolist()
        parts.setdefault(int(row["document"]), {})[int(row["position"])] = tokens
    ids = [[i for _, tokens in sorted(contexts.items()) for i in tokens] for _, contexts in sorted(parts.items())]
    for contexts in parts.values():  # positions leave no gap
        ends = [position + len(tokens) for position, tokens in sorted(contexts.items())]
        assert [0, *ends[:-1]] == sorted(contexts)
    return [bytes(BYTE_OF[i] for i in document).decode() for document in ids]


def write_jsonl(path: Path, texts: list[str], field: str = "text") -> Path:
    path.write_text("".join(json.dumps({"id": 1, field: text}) + "\n" for text in texts))
    return path
