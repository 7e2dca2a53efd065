"""Several dictionaries read the same tokens in one pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.planted_world import nested
from support.planted_world import world as planted

from sae.corpus.corpus import Corpus, open_corpus
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.studies import firing
from sae.subject.model import Subject, load_subject

Opened = tuple[Subject, Corpus, list[Dictionary]]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("world")
    world = planted.make(folder, documents=20)
    subject = load_subject(str(world.subject), precision="float32", device="cpu")
    corpus = open_corpus(
        [str(world.corpus)], tokenizer=subject.tokenizer, tokenizer_fingerprint=subject.fingerprint, context_tokens=32,
        max_tokens=4000, bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    paths = [nested.save(folder / name, rows) for name, rows in (("a", nested.SMALL), ("b", nested.LARGE))]
    return subject, corpus, [load_dictionary(str(path)) for path in paths]


def test_features_fire_at_their_words_and_nowhere_else(opened: Opened) -> None:
    subject, corpus, dictionaries = opened
    sampled, firings = firing.read(subject, dictionaries, corpus, tokens=10_000, seed=0)
    ids = corpus.tokens[corpus.contexts["offset"][sampled.context] + sampled.position]
    words = np.array([str(subject.tokenizer.convert_ids_to_tokens(int(i))).lstrip(planted.SPACE) for i in ids])
    assert len(words) > 1000
    assert (sampled.position >= firing.SKIP_POSITIONS).all()
    for each, features in zip(firings, (nested.SMALL, nested.LARGE), strict=True):
        for number, feature in enumerate(features):
            expected = np.flatnonzero(np.isin(words, [f"filler{word}" for word in feature.reads]))
            np.testing.assert_array_equal(each.tokens_of(number), expected)
            assert each.counts[number] == len(expected)


def test_values_are_activations_times_the_norm_of_the_decoder_row(opened: Opened) -> None:
    subject, corpus, (small, _) = opened
    sampled, (firings,) = firing.read(subject, [small], corpus, tokens=10_000, seed=0)
    tokens, _ = corpus.batch(np.arange(len(corpus.contexts)))
    x = subject.run(torch.as_tensor(tokens), [small.hook_point])[small.hook_point]
    first = int(corpus.bos_id is not None)
    dense = small.encode(x[sampled.context, sampled.position + first]) * small.decoder_norm
    np.testing.assert_allclose(firings.by_token.toarray(), dense.numpy(), atol=1e-5)


def test_reading_ends_at_the_largest_number_of_events(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, corpus, dictionaries = opened
    monkeypatch.setattr(firing, "FORWARD_TOKENS", 64)
    whole, _ = firing.read(subject, dictionaries, corpus, tokens=10_000, seed=0)
    monkeypatch.setattr(firing, "EVENTS", 20)
    part, firings = firing.read(subject, dictionaries, corpus, tokens=10_000, seed=0)
    assert len(part.context) < len(whole.context) / 2
    assert sum(len(each.feature) for each in firings) > 20
    np.testing.assert_array_equal(part.context, whole.context[: len(part.context)])
