"""Documents of a corpus: duplicates are left out and counted, near-duplicates are one document, long texts are several."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from support.sae.corpora import documents, opened, write_jsonl

from sae.corpus.distinct_documents import Contents

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgklmnprst"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))


def texts(n: int, words: int = 40, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(n)]


def shuffled(copies: list[str], seed: int = 0) -> list[str]:
    return random.Random(seed).sample(copies, len(copies))


@pytest.mark.parametrize("copies", [1, 2, 4, 8])
def test_each_text_is_read_once_however_often_it_occurs(tmp_path: Path, copies: int) -> None:
    originals = texts(30)
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", shuffled(originals * copies)))
    assert sorted(documents(corpus)) == sorted(originals)
    assert corpus.n_documents == 30
    assert corpus.contents == Contents(duplicates=30 * (copies - 1))


def test_duplicates_are_found_across_sources_and_formats(tmp_path: Path) -> None:
    originals = texts(5)
    first = write_jsonl(tmp_path / "a.jsonl", originals)
    for number, text in enumerate(originals[:3]):
        (tmp_path / f"{number}.txt").write_text(text)
    corpus = opened(first, tmp_path / "*.txt")
    assert sorted(documents(corpus)) == sorted(originals)
    assert corpus.contents.duplicates == 3


def test_token_ids_and_conversations_are_compared_too(tmp_path: Path) -> None:
    lines = [json.dumps({"text": list(range(65 + n, 85 + n))}) for n in (0, 1, 0, 0)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert opened(tmp_path / "a.jsonl").contents.duplicates == 2


def test_a_limit_on_tokens_counts_distinct_text(tmp_path: Path) -> None:
    once = opened(write_jsonl(tmp_path / "a.jsonl", texts(50)), max_tokens=3000)
    eight = opened(write_jsonl(tmp_path / "b.jsonl", [text for text in texts(50) for _ in range(8)]), max_tokens=3000)
    assert documents(eight) == documents(once)


def test_near_duplicates_are_one_document_whose_contexts_keep_their_own_places(tmp_path: Path) -> None:
    originals = texts(20)
    near = [text.replace(text.split()[5], "other") for text in originals[:4]]
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", [*originals, *near]))
    assert corpus.n_documents == 20
    assert corpus.contents == Contents(near_duplicates=4)
    assert documents(corpus)[:4] == [a + b for a, b in zip(originals, near, strict=False)]
    assert (np.diff(corpus.contexts["offset"]) == corpus.contexts["length"][:-1]).all()


def test_keys_are_of_the_text_and_not_of_its_place(tmp_path: Path) -> None:
    originals = texts(40)
    near = [text.replace(text.split()[5], "other") for text in originals[:4]]
    keys = {}
    for seed in (1, 2):
        corpus = opened(write_jsonl(tmp_path / f"{seed}.jsonl", shuffled([*originals, *near, *originals], seed)))
        rows = np.flatnonzero(corpus.contexts["position"] == 0)
        keys[seed] = set(corpus.document_keys(rows).tolist())
        assert len(keys[seed]) == corpus.n_documents == 40
    assert keys[1] == keys[2]


@pytest.mark.parametrize("n", [1, 2])
def test_a_corpus_of_few_long_texts_is_cut_into_pieces_with_gaps(tmp_path: Path, n: int) -> None:
    written = texts(n, words=6000)
    for number, text in enumerate(written):
        (tmp_path / f"{number}.txt").write_text(text)
    corpus = opened(tmp_path / "*.txt", context_tokens=65)
    found = documents(corpus)
    assert 50 < corpus.n_documents == len(found) == corpus.contents.pieces < 70
    assert corpus.contents.cut == n
    whole = "|".join(written)
    places = [whole.index(piece) for piece in found]
    gaps = [b - a - len(piece) for a, b, piece in zip(places, places[1:], found, strict=False)]
    assert sorted(gaps)[: n - 1] == [1] * (n - 1)
    assert set(sorted(gaps)[n - 1 :]) == {64}
    assert corpus.n_tokens == sum(map(len, found)) > 0.75 * len(whole)


def test_documents_of_a_corpus_that_has_enough_are_left_whole(tmp_path: Path) -> None:
    long = texts(16, words=700)
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", [*long, *texts(200, seed=1)]))
    assert corpus.contents == Contents()
    assert documents(corpus)[:16] == long


def test_the_statement_says_what_was_done() -> None:
    assert Contents(1, 2, 1, 60).statement == (
        "1 duplicate left out, 2 near-duplicates counted as one document with the text that they resemble;"
        " 1 long document cut into 60 pieces"
    )
    assert Contents(cut=2, pieces=11).statement == "no duplicates; 2 long documents cut into 11 pieces"
