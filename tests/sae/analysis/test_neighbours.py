"""The nearest units of the whole dictionary or layer, against cosines of all activations at once."""

from __future__ import annotations

import math
from itertools import chain, zip_longest

import numpy as np
import pytest
import torch
from support.sae import corpora
from support.sae.tiny_dictionaries import D_SAE
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from torch.nn.functional import normalize
from transformers import GPT2Config, GPT2LMHeadModel

from sae.analysis import chunked, neighbours
from sae.analysis.explainer_windows import WindowSettings
from sae.analysis.neighbours import nearest_units
from sae.analysis.unit_probe import read_values
from sae.corpus.corpus import Corpus
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

N = 12
SETTINGS = WindowSettings(window=16, bins=10, skip_positions=1, norm_limit=math.inf, seed=0)
FEATURES = [UnitKey("feature", i, "") for i in (5, 0, 33)]
NEURONS = [UnitKey("neuron", 3, "+"), UnitKey("neuron", 3, "-"), UnitKey("neuron", 60, "+")]


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=258, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    config.bos_token_id = config.eos_token_id = None
    subject = Subject(GPT2LMHeadModel(config), corpora.TOKENIZER, name="gpt2", fingerprint="x")
    subject.bos_id = corpora.BOS
    return subject


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, 40))) for _ in range(12)]
    return corpora.opened(corpora.write_jsonl(tmp_path_factory.mktemp("corpus") / "texts.jsonl", texts))


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk", "groupmax"])
def test_co_activation_is_the_cosine_of_activations_however_the_dictionary_is_cut(
    subject: Subject, corpus: Corpus, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "ELEMENTS", 7 * 400)
    monkeypatch.setattr(neighbours, "ELEMENTS", 7 * 400)
    dictionary, rows = any_dictionary(activation), np.arange(len(corpus.contexts))
    reader = UnitReader(subject, dictionary, [*FEATURES, *NEURONS])
    found = nearest_units(reader, corpus, rows, N, SETTINGS)

    values, counted = read_values(reader, corpus, rows, 1, math.inf)
    features = normalize(dictionary.activations(values[reader.hook_point][counted]), dim=0)
    m = values[reader.neuron_hook_point][counted]
    neurons = normalize(torch.stack([m.relu(), (-m).relu()], dim=2).flatten(1), dim=0)
    direction = normalize(dictionary.W_dec, dim=1)
    for unit, near in zip(reader.units, found, strict=True):
        everything = features if unit.kind == "feature" else neurons
        assert len(near) == N
        assert {other.unit.kind for other in near} == {unit.kind}
        own, numbers = number(unit), [number(other.unit) for other in near]
        assert own not in numbers
        assert len(set(numbers)) == N
        together = everything.T @ everything[:, own]
        together[own] = -1
        assert [other.coactivation for other in near] == pytest.approx(together[numbers].tolist(), abs=1e-5)
        by_coactivation = above_0(together)
        if unit.kind == "neuron":
            assert numbers == by_coactivation[:N]
            continue
        alike = direction @ direction[own]
        assert [other.cosine for other in near] == pytest.approx(alike[numbers].tolist(), abs=1e-5)
        alike[own] = -1
        turns = zip_longest(above_0(alike), by_coactivation)
        assert numbers == [i for i in dict.fromkeys(chain.from_iterable(turns)) if i is not None][:N]


def above_0(cosines: torch.Tensor) -> list[int]:
    """The numbers of the cosines above 0, the largest first."""
    return [i for i in cosines.argsort(descending=True).tolist() if cosines[i] > 1e-6]


def number(unit: UnitKey) -> int:
    return 2 * unit.index + (unit.sign == "-") if unit.sign else unit.index


def test_units_that_are_silent_have_neighbours_by_direction_only(subject: Subject, corpus: Corpus) -> None:
    dictionary = any_dictionary("relu")
    dictionary.b_enc[5] = -1e6
    reader = UnitReader(subject, dictionary, FEATURES)
    silent, *_ = nearest_units(reader, corpus, np.arange(4), D_SAE, SETTINGS)
    assert silent
    assert all(other.coactivation == 0 < other.cosine for other in silent)
