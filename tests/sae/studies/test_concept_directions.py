"""Directions of two sets of texts, maxima of units, and prompts as token ids."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.planted_world import world as planted
from support.scorers import cases as scorer_cases
from transformers import AutoTokenizer

from sae.corpus.corpus import open_corpus
from sae.errors import SubjectError
from sae.harvest.units import UnitKey
from sae.studies.concept_directions import concept_directions, fit_probe, held_out_accuracy
from sae.studies.intervention import Row, Target, intervene
from sae.studies.steered_texts import continuations, encode_prompt
from sae.studies.unit_maxima import maxima_over_corpus, maxima_over_texts
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
UNITS = [UnitKey("feature", 0, ""), UnitKey("feature", 1, ""), UnitKey("neuron", 0, "+")]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> scorer_cases.Opened:
    return scorer_cases.opened(tmp_path_factory.mktemp("directions"))


def test_both_directions_of_two_sets_point_to_the_planted_concept(opened: scorer_cases.Opened) -> None:
    positive = [f"filler{i} filler{i + 9} harbour{i % 5}" for i in range(8)]
    negative = [f"filler{i + 20} filler{i} filler{i + 30}" for i in range(8)]
    found = concept_directions(opened.subject, ["resid_post.0"], positive, negative)
    axis = opened.dictionary.W_dec[0] / opened.dictionary.W_dec[0].norm()
    for direction in (found.difference["resid_post.0"], found.probe["resid_post.0"]):
        assert float(direction.norm()) == pytest.approx(1, abs=1e-5)
        assert int(direction.abs().argmax()) == int(axis.argmax())
        assert float(direction @ axis) > 0.5
    assert found.accuracy["resid_post.0"] == 1


def test_the_probe_is_the_minimum_of_the_penalised_loss_and_is_tested_on_other_texts() -> None:
    rng = np.random.default_rng(0)
    x, side = rng.normal(size=(60, 4)), np.arange(60) < 30
    x[side, 1] += 3
    weights, intercept = fit_probe(x, side)
    assert np.argmax(np.abs(weights)) == 1
    assert weights[1] > 0
    assert ((x @ weights + intercept > 0) == side).mean() > 0.9
    accuracy = held_out_accuracy(x, side)
    assert accuracy is not None
    assert accuracy > 0.85
    assert abs((held_out_accuracy(rng.normal(size=(200, 4)), np.arange(200) < 100) or 0) - 0.5) < 0.12
    assert held_out_accuracy(x[:34], side[:34]) is None


def test_sets_of_texts_that_define_no_direction_are_refused(opened: scorer_cases.Opened) -> None:
    for positive, negative, why in (
        ([], ["filler1"], "a set of texts is empty"),
        (["filler1"], ["filler1"], "do not differ"),
        (["filler1"], [""], "is empty: remove it"),
    ):
        with pytest.raises(SubjectError, match=why):
            concept_directions(opened.subject, ["resid_post.0"], positive, negative)


def test_maxima_over_a_corpus_and_over_texts_are_those_of_the_tokens_read(opened: scorer_cases.Opened) -> None:
    subject, dictionary = opened.subject, opened.dictionary
    over_texts = maxima_over_texts(subject, dictionary, UNITS, ["filler1 harbour3", "filler2 harbour1 orchard0"])
    assert over_texts[:2].tolist() == pytest.approx([0.84, 0.54], abs=1e-4)  # lengths minus the encoder's bias
    corpus = open_corpus(
        [str(opened.world.corpus)], tokenizer=subject.tokenizer, tokenizer_fingerprint=subject.fingerprint,
        context_tokens=64, max_tokens=10_000, bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    text = " ".join(json.loads(line)["text"] for line in opened.world.corpus.read_text().splitlines())
    loudest = max(planted.loudness(word)[1] for word in text.split() if "harbour" in word)
    assert maxima_over_corpus(subject, dictionary, UNITS, corpus, 10_000)[0] == pytest.approx(loudest - 0.01, abs=1e-4)
    few = maxima_over_corpus(subject, dictionary, UNITS, corpus, 1)
    assert (few <= maxima_over_corpus(subject, dictionary, UNITS, corpus, 10_000) + 1e-6).all()


def test_a_prompt_becomes_ids_plain_or_in_the_chat_template(opened: scorer_cases.Opened) -> None:
    subject = opened.subject
    assert encode_prompt(subject, "filler1 filler2", 4) == tuple(subject.tokenizer("filler1 filler2").input_ids)
    with pytest.raises(SubjectError, match="has no chat template: give prompts without --chat"):
        encode_prompt(subject, "filler1 filler2", 4, chat=True)
    with pytest.raises(SubjectError, match=r"has 255 tokens, and 4 more do not fit into the subject's 256: shorten it"):
        encode_prompt(subject, " ".join(["filler1"] * 255), 4)
    with pytest.raises(SubjectError, match="is too short"):
        encode_prompt(subject, "filler1", 4)
    chat = AutoTokenizer.from_pretrained(opened.world.subject)
    chat.chat_template = TEMPLATE
    talking = Subject(subject.model, chat, name="talking", fingerprint="y")
    assert encode_prompt(talking, "filler1", 4, chat=True) == tuple(chat("user filler1 assistant").input_ids)


def test_a_reply_ends_before_a_special_token_if_it_may_end(opened: scorer_cases.Opened) -> None:
    subject = Subject(opened.subject.model, opened.subject.tokenizer, name="talking", fingerprint="y")
    intervention = intervene(subject, [Target(opened.dictionary, UNITS[0], 0.94)])
    ids = tuple(subject.tokenizer("filler1 filler2").input_ids)
    [free] = continuations(subject, intervention, [Row(ids, 2, 20.0)], 6, None, ends=True)
    assert len(free) == 6
    subject.special_ids = frozenset(free)
    rows = [Row(ids, 2), Row(ids, 2, 20.0)]
    plain, ended = continuations(subject, intervention, rows, 6, None, ends=True)
    assert (len(plain), ended) == (6, [])
    assert not set(free) & set(continuations(subject, intervention, rows, 6, None, ends=False)[1])
    assert torch.is_grad_enabled()
