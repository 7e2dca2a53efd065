"""Encoding: conversations go through the chat template, whose tokens do not count; ids of another tokenizer are refused."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sae.corpus.corpus import Corpus, open_corpus
from sae.errors import CorpusError

WORDS = [
    "river",
    "stone",
    "lamp",
    "paper",
    "green",
    "house",
    "window",
    "music",
    "winter",
    "sugar",
    "train",
    "garden",
    "silver",
    "bridge",
    "forest",
    "candle",
    "market",
    "doctor",
    "engine",
    "island",
    "letter",
    "mirror",
    "needle",
    "ocean",
    "pepper",
    "quiet",
    "rocket",
    "saddle",
    "tunnel",
    "valley",
]
OTHER = [
    "fluss",
    "stein",
    "lampe",
    "papier",
    "haus",
    "fenster",
    "musik",
    "zucker",
    "zug",
    "garten",
    "silber",
    "kerze",
    "markt",
    "arzt",
    "motor",
    "insel",
    "brief",
    "spiegel",
    "nadel",
    "pfeffer",
    "rakete",
    "sattel",
    "tal",
]
CHATML = "{% for m in messages %}{{ '<s>' if loop.first }}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"


def sentences(words: list[str], seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(words) for _ in range(30)) for _ in range(60)]


def trained(words: list[str], **named: Any) -> Any:
    """A byte-level BPE tokenizer trained on the words."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(sentences(words, 0), trainer)
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", **named)


TOKENIZER = trained(WORDS)
CHAT = trained(WORDS, chat_template=CHATML)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))


def opened(path: Path, field: str, tokenizer: Any = TOKENIZER, **changes: Any) -> Corpus:
    defaults = {
        "context_tokens": 64,
        "max_tokens": 100_000,
        "bos_id": 0,
        "special_ids": {0, 1, 2, 3},
        "text_field": field,
    }
    return open_corpus([str(path)], tokenizer=tokenizer, tokenizer_fingerprint="t", **(defaults | changes))


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def texts_of(corpus: Corpus) -> list[str]:
    rows = [corpus.tokens[c["offset"] : c["offset"] + c["length"]] for c in corpus.contexts]
    return [TOKENIZER.decode(row) for row in rows]


def test_token_ids_give_the_contexts_that_their_text_gives(tmp_path: Path) -> None:
    texts = sentences(WORDS, 1)
    ids = [TOKENIZER(text)["input_ids"] for text in texts]
    padded = [[1] * 3 + [0, *row] + [1] * 5 for row in ids]
    packed = [[token for row in ids for token in (0, *row)]]
    expected = opened(write(tmp_path / "a.parquet", text=texts), "text")
    for name, column in (("ids", ids), ("padded", padded), ("packed", packed)):
        corpus = opened(write(tmp_path / f"{name}.parquet", input_ids=column), "input_ids")
        np.testing.assert_array_equal(corpus.tokens, expected.tokens)
        np.testing.assert_array_equal(corpus.contexts, expected.contexts)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([trained(OTHER)(text)["input_ids"] for text in sentences(OTHER, 2)], "token ids of another tokenizer"),
        ([trained(OTHER)(text)["input_ids"] for text in sentences(WORDS, 2)[:1]], "token ids of another tokenizer"),
        ([[5, 6, 50256]], "token id 50256, and the subject's vocabulary has 395"),
        ([[5, -100, 6]], "token id -100"),
        ([[5, 400]], "token id 400"),
    ],
)
def test_token_ids_of_another_tokenizer_are_refused(tmp_path: Path, ids: list[list[int]], message: str) -> None:
    path = write(tmp_path / "a.parquet", input_ids=ids)
    with pytest.raises(CorpusError, match=message) as caught:
        opened(path, "input_ids")
    assert "set corpus.text_field" in str(caught.value)


CONVERSATIONS = [
    [{"role": "system", "content": "river"}, {"role": "user", "content": " stone lamp "}, {"role": "assistant", "content": "user"}],
    [{"role": "user", "content": "music"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "music winter"}],
]  # fmt: skip


def counted_texts(corpus: Corpus) -> list[str]:
    tokens, counted = corpus.batch(np.arange(len(corpus.contexts)))
    return [TOKENIZER.decode(row[mask]) for row, mask in zip(tokens, counted, strict=True)]


def test_only_the_messages_of_a_conversation_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", messages=CONVERSATIONS)
    corpus = opened(path, "messages", CHAT)
    assert texts_of(corpus)[0] == (
        "<|im_start|>system\nriver<|im_end|>\n<|im_start|>user\nstone lamp<|im_end|>\n<|im_start|>assistant\nuser<|im_end|>\n"
    )
    assert counted_texts(corpus) == ["riverstone lampuser", "musicmusic winter"]
    short = opened(path, "messages", CHAT, context_tokens=8)
    assert "".join(counted_texts(short)) == "riverstone lampusermusicmusic winter"
    everything = opened(path, "messages", CHAT, count_template=True)
    assert counted_texts(everything)[0] == "system\nriver\nuser\nstone lamp\nassistant\nuser\n"
    assert everything.fingerprint != corpus.fingerprint


def turns_of(corpus: Corpus) -> list[tuple[str, str | None]]:
    """The corpus in stretches of one turn: decoded tokens, and the turn."""
    turns = itertools.groupby(range(corpus.n_tokens), key=corpus.turn_at)
    return [(TOKENIZER.decode(corpus.tokens[list(offsets)]), turn) for turn, offsets in turns]


def test_each_token_of_a_message_knows_its_turn(tmp_path: Path) -> None:
    names = [{"role": "user", "content": "user"}, {"role": "assistant", "content": "assistant"}]
    path = write(tmp_path / "a.parquet", messages=[names], text=["river"])
    start, end = "<|im_start|>", "<|im_end|>\n"
    expected = [
        (start + "user\n", None),
        ("user", "user 1"),
        (f"{end}{start}assistant\n", None),
        ("assistant", "assistant 2"),
        (end, None),
    ]
    for context_tokens in (64, 6):  # a message may be cut into two contexts
        assert turns_of(opened(path, "messages", CHAT, context_tokens=context_tokens)) == expected
    assert turns_of(opened(path, "messages", CHAT, count_template=True)) == expected
    assert opened(path, "text", CHAT).turn_at(0) is None


def test_messages_are_found_in_templates_that_change_them(tmp_path: Path) -> None:
    shouting = trained(
        WORDS,
        chat_template="{% for m in messages %}{{ m['role'] }}: {{ m['content'] | replace('stone', '') }}|{% endfor %}",
    )
    messages = [{"role": "user", "content": "river stone"}, {"role": "assistant", "content": "lamp"}]
    path = write(tmp_path / "a.parquet", messages=[messages])
    assert turns_of(opened(path, "messages", shouting))[1:] == [(" lamp", "assistant 2"), ("|", None)]


def test_another_chat_template_makes_another_corpus(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", messages=CONVERSATIONS, text=["river", "stone"])
    other = trained(WORDS, chat_template=CHATML.replace("role'] }}\n", "role'] }}: "))
    assert opened(path, "messages", CHAT).fingerprint != opened(path, "messages", other).fingerprint
    assert opened(path, "text", CHAT).fingerprint == opened(path, "text", other).fingerprint


def test_conversations_that_the_subject_cannot_read_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", messages=CONVERSATIONS)
    with pytest.raises(CorpusError, match="the subject has no chat template: use the chat model"):
        opened(path, "messages")
    strict = trained(WORDS, chat_template="{{ raise_exception('System role not supported') }}")
    with pytest.raises(CorpusError, match="chat template refuses: System role not supported; remove it") as caught:
        opened(path, "messages", strict)
    assert "\n" not in str(caught.value)


def test_a_text_that_begins_with_bos_does_not_get_a_second_one(tmp_path: Path) -> None:
    texts = sentences(WORDS, 2)[:20]
    plain = opened(write(tmp_path / "plain.parquet", text=texts), "text")
    rendered = opened(write(tmp_path / "rendered.parquet", text=["<s>" + text for text in texts]), "text")
    assert texts_of(rendered) == texts_of(plain)
