"""A token of massive norm is evidence of nothing: every computation of the studies leaves it out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.planted_world import massive
from support.planted_world import world as planted

from sae.corpus.corpus import Corpus, open_corpus
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.formats.load import load_dictionary
from sae.harvest.units import UnitKey
from sae.studies import alive_features, firing, firing_rates, last_tokens, readings, unit_maxima
from sae.studies.concept_directions import concept_directions
from sae.subject.model import Subject, load_subject

pytestmark = pytest.mark.usefixtures("one_thread")
WORD = "harbour4"
AT = "resid_post.0"
Opened = tuple[Subject, Dictionary, Corpus]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("massive")
    world = planted.make(folder, documents=20)
    subject = load_subject(
        str(massive.subject_with(world, WORD, folder / "massive")), precision="float32", device="cpu"
    )
    corpus = open_corpus(
        [str(world.corpus)], tokenizer=subject.tokenizer, tokenizer_fingerprint=subject.fingerprint, context_tokens=64,
        max_tokens=60_000, bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    return subject, load_dictionary(str(world.dictionary)), corpus


def _words(subject: Subject, corpus: Corpus) -> list[str]:
    """The words of the corpus but for the first of each context."""
    ids = [corpus.tokens[row["offset"] + 1 : row["offset"] + row["length"]] for row in corpus.contexts]
    names = subject.tokenizer.convert_ids_to_tokens(np.concatenate(ids).tolist())
    return [str(name).lstrip(planted.SPACE) for name in names]


def _of_alive_features(opened: Opened) -> int:
    subject, dictionary, corpus = opened
    [found], n = alive_features.firing(
        subject, [dictionary], corpus, [torch.full((1, dictionary.d_sae), torch.inf)], tokens=10**6, seed=0
    )
    assert found.largest[0] < 1
    assert n == sum(word != WORD for word in _words(subject, corpus))
    return int(found.n_active[0])


def _of_events(opened: Opened) -> int:
    subject, dictionary, corpus = opened
    _, [found] = firing.read(subject, [dictionary], corpus, tokens=10**6, seed=0)
    return int(found.counts[0])


def _of_documents(opened: Opened) -> int:
    subject, dictionary, corpus = opened
    return int(firing_rates.firing_sums(subject, dictionary, corpus, tokens=10**6, seed=0).firings[0])


@pytest.mark.parametrize("count", [_of_alive_features, _of_events, _of_documents])
def test_firing_is_not_counted_there(opened: Opened, count: Callable[[Opened], int]) -> None:
    words = _words(opened[0], opened[2])
    assert WORD in words
    assert count(opened) == sum("harbour" in word and word != WORD for word in words)


def test_a_text_has_no_activation_there(opened: Opened) -> None:
    subject, dictionary, _ = opened
    values = readings.values_of(subject, AT, [f"filler1 filler2 {WORD} filler3", "filler1 harbour3"])
    assert [mask.tolist() for mask in values.counted] == [[False, True, False, True], [False, True]]
    [read] = readings.readings(dictionary, values)
    assert read.maximum[0, 0] == 0
    assert read.maximum[1, 0] > 0.8
    assert readings.activations_at_tokens(dictionary, values, [0])[0][0].tolist() == [0, 0, 0, 0]


def test_a_prompt_that_ends_there_says_nothing(opened: Opened) -> None:
    subject, dictionary, _ = opened
    prompts = ["filler1 filler2 harbour3", f"filler3 {WORD}", f"filler1 filler2 {WORD}", f"filler3 {WORD}"]
    values, counted = last_tokens.last_token_values(subject, prompts, [AT])
    assert counted.tolist() == [True, False, False, False]
    found = last_tokens.strongest(dictionary, values[AT].reshape(2, 2, -1), counted.reshape(2, 2), 3)
    assert found.counted.tolist() == [1, 0]
    assert found.feature[0, 0] == 0
    assert found.activation[0, 0] == pytest.approx(0.84, abs=1e-4)
    assert found.active[0, 0] == 1
    assert not found.activation[1].any()


def test_maxima_are_those_of_other_tokens(opened: Opened) -> None:
    subject, dictionary, corpus = opened
    units = [UnitKey("feature", 0, ""), UnitKey("neuron", 0, "+")]
    for found in (
        unit_maxima.maxima_over_texts(subject, dictionary, units, [f"filler1 filler2 {WORD} harbour2 filler3"]),
        unit_maxima.maxima_over_corpus(subject, dictionary, units, corpus, 10_000),
    ):
        assert 0.7 < found[0] < 1
    assert unit_maxima.maxima_over_texts(subject, dictionary, units, [""]).tolist() == [0, 0]


def test_a_text_that_ends_there_defines_no_direction(opened: Opened) -> None:
    texts = ["filler1 filler2 filler3", f"filler1 filler2 {WORD}"]
    with pytest.raises(SubjectError, match=f"'filler1 filler2 {WORD}' ends in a token of massive norm"):
        concept_directions(opened[0], [AT], texts[:1], texts[1:])
