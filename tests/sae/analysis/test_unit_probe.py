"""Reading given texts and contexts: the activations that model and dictionary compute, whatever else is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.planted_world import layered
from support.planted_world import world as planted
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from support.scorers import cases as scorer_cases
from transformers import GPT2Config, GPT2LMHeadModel

from sae.analysis import unit_probe
from sae.analysis.unit_probe import read_contexts, read_texts, read_texts_by_unit
from sae.corpus.corpus import open_corpus
from sae.errors import SaeError, SubjectError
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

pytestmark = pytest.mark.usefixtures("one_thread")

UNITS = (UnitKey("feature", 0, ""), UnitKey("neuron", 1, "-"), UnitKey("feature", 2, ""), UnitKey("neuron", 1, "+"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> scorer_cases.Opened:
    return scorer_cases.opened(tmp_path_factory.mktemp("probing"))


@pytest.fixture(scope="module")
def gpt2(opened: scorer_cases.Opened) -> Subject:
    """A model that uses BOS and has positions, over the planted tokenizer."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(opened.subject.tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=32)
    config.bos_token_id = config.eos_token_id = None
    subject = Subject(GPT2LMHeadModel(config), opened.subject.tokenizer, name="gpt2", fingerprint="x")
    subject.bos_id = 258
    return subject


def test_words_have_their_planted_activations(opened: scorer_cases.Opened) -> None:
    texts = ["filler1 harbour0 filler2 nearharbour4 orchard1", "", "filler3 furnace2"]
    found = read_texts(opened.subject, opened.dictionary, UNITS, texts)
    assert [seen.tokens for seen in found] == [tuple(f" {w}" for w in text.split()) for text in texts]
    assert found[0].activations[0] == pytest.approx([0, 0.54, 0, 0.44, 0], abs=1e-5)
    assert found[2].activations[2] == pytest.approx([0, 0.74], abs=1e-5)
    assert found[1].activations.shape == (4, 0)
    assert found[0].activations.dtype == np.float32
    assert not any(seen.n_cut for seen in found)


def test_both_signs_of_a_neuron_add_up_to_its_value(opened: scorer_cases.Opened) -> None:
    text = "filler1 orchard0 filler2 orchard4"
    (seen,) = read_texts(opened.subject, opened.dictionary, UNITS, [text])
    ids = torch.tensor([opened.subject.tokenizer(text).input_ids])
    neuron = opened.subject.run(ids, ["mlp_act.0"])["mlp_act.0"][0, :, 1]
    neuron[0] = 0
    assert torch.from_numpy(seen.activations[3] - seen.activations[1]).allclose(neuron, atol=1e-6)
    assert (seen.activations[[1, 3]] >= 0).all()
    assert seen.activations[3].max() > 1


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk", "groupmax"])
def test_texts_have_the_activations_that_each_kind_of_dictionary_computes(gpt2: Subject, activation: str) -> None:
    dictionary = any_dictionary(activation)
    texts = [" ".join(f"filler{i * j % 60}" for i in range(2 + 3 * j)) for j in range(1, 8)]
    units = [UnitKey("feature", i, "") for i in (5, 0, 33)]
    found = read_texts(gpt2, dictionary, units, texts, skip_positions=0)
    for text, seen in zip(texts, found, strict=True):
        ids = torch.tensor([[gpt2.bos_id, *gpt2.tokenizer(text).input_ids]])
        x = gpt2.run(ids, ["resid_post.1"])["resid_post.1"][0, 1:]
        true = dictionary.activations(x, torch.tensor([5, 0, 33])).T
        assert torch.from_numpy(seen.activations).allclose(true, atol=1e-4)
    assert max(seen.activations.max() for seen in found) > 0


def test_batches_do_not_change_activations(opened: scorer_cases.Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(["filler1"] * n + ["harbour3"]) for n in range(1, 30)]
    together = read_texts(opened.subject, opened.dictionary, UNITS, texts)
    monkeypatch.setattr(unit_probe, "BATCH_TOKENS", 1)
    alone = read_texts(opened.subject, opened.dictionary, UNITS, texts)
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert np.allclose(one.activations, other.activations, atol=1e-6)


def test_one_reader_reads_one_text_for_each_of_many_units(
    opened: scorer_cases.Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_probe, "TEXTS_AT_ONCE", 2)
    wanted = [
        (0, "filler1 harbour0"),
        (2, "filler1 harbour0"),
        (2, "filler9 furnace0"),
        (0, ""),
        (0, "filler2 harbour1"),
    ]
    found = read_texts_by_unit(UnitReader(opened.subject, opened.dictionary, UNITS), wanted)
    assert [seen.activations.tolist() for seen in found] == [
        [[0, pytest.approx(0.54)]], [[0, 0]], [[0, pytest.approx(0.54)]], [[]], [[0, pytest.approx(0.64)]]
    ]  # fmt: skip


def test_a_text_that_is_too_long_is_cut_and_the_cut_reported(gpt2: Subject) -> None:
    (seen,) = read_texts(gpt2, any_dictionary("relu"), [UnitKey("feature", 0, "")], [" ".join(["filler1"] * 50)])
    assert (len(seen.tokens), seen.n_cut) == (31, 19)
    assert seen.activations.shape == (1, 31)


def test_tokens_that_a_harvest_does_not_count_have_activation_0(opened: scorer_cases.Opened) -> None:
    texts = ["harbour4 harbour0 harbour4"]
    (plain,) = read_texts(opened.subject, opened.dictionary, UNITS[:1], texts)
    (whole,) = read_texts(opened.subject, opened.dictionary, UNITS[:1], texts, skip_positions=0)
    assert plain.activations[0] == pytest.approx([0, 0.54, 0.94], abs=1e-5)
    assert whole.activations[0] == pytest.approx([0.94, 0.54, 0.94], abs=1e-5)
    limit = math.sqrt(planted.BIAS**2 + 0.7**2)
    (quiet,) = read_texts(opened.subject, opened.dictionary, UNITS[:1], texts, norm_limit=limit)
    assert quiet.activations[0] == pytest.approx([0, 0.54, 0], abs=1e-5)


def test_no_texts_and_special_ids(opened: scorer_cases.Opened) -> None:
    assert read_texts(opened.subject, opened.dictionary, UNITS, []) == []
    (seen,) = read_texts(opened.subject, opened.dictionary, UNITS, ["filler1 <unk> harbour1"])
    assert seen.activations[0].max() == pytest.approx(0.64, abs=1e-5)


def test_contexts_are_returned_in_the_order_of_the_request(opened: scorer_cases.Opened) -> None:
    subject = opened.subject
    corpus = open_corpus(
        [str(opened.world.corpus)], tokenizer=subject.tokenizer, tokenizer_fingerprint=subject.fingerprint,
        context_tokens=64, max_tokens=3000, bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    reader = UnitReader(subject, opened.dictionary, UNITS)
    rows = [5, 1, 5, 3]
    found = read_contexts(reader, corpus, rows)
    assert [len(seen.ids) for seen in found] == corpus.contexts["length"][rows].tolist()
    for row, seen in zip(rows, found, strict=True):
        offset = int(corpus.contexts["offset"][row])
        assert (seen.ids == corpus.tokens[offset : offset + len(seen.ids)]).all()
        words = [text.strip() for text in token_texts(subject.tokenizer, seen.ids.tolist())]
        true = [planted.loudness(w)[1] - 0.01 if "harbour" in w else 0.0 for w in words]
        assert seen.activations[0] == pytest.approx([0, *true[1:]], abs=1e-5)
        assert seen.counted.tolist() == [False] + [True] * (len(seen.ids) - 1)
    assert (found[0].activations == found[2].activations).all()


def test_a_subject_that_computes_nan_is_refused(tmp_path: Path) -> None:
    deep = layered.make(tmp_path)
    subject = deep.subject()
    with torch.no_grad():
        next(subject.model.model.layers[0].mlp.parameters()).fill_(float("nan"))
    x = torch.randn(200, planted.D_MODEL, generator=torch.Generator().manual_seed(0))
    dictionary = layered.principal(x, "resid_post.0")
    with pytest.raises(SaeError, match=r"NaN or infinite values at resid_post\.0"):
        read_texts(subject, dictionary, UNITS[:1], ["filler1 filler2"])


def test_a_tokenizer_that_fails_raises_an_error_of_one_line(
    opened: scorer_cases.Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **named: object) -> None:
        raise ValueError("no such piece\nat all")

    monkeypatch.setattr(opened.subject, "tokenizer", broken)
    with pytest.raises(SubjectError, match=r"^the subject's tokenizer cannot encode the texts: no such piece at all$"):
        read_texts(opened.subject, opened.dictionary, UNITS, ["filler1"])
