"""Effects on the next token: the same with and without a cache, alone and together, at every place that a dictionary writes to."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from support.sae.tiny_models import tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from sae.analysis.clamp import Rows, make_clamp
from sae.analysis.output_effects import OutputEffect, output_effects
from sae.dictionary import Dictionary
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURES = [UnitKey("feature", 4, ""), UnitKey("feature", 1, "")]
NEURONS = [UnitKey("neuron", 3, "+"), UnitKey("neuron", 3, "-")]
CONTEXTS = [np.random.default_rng(i).integers(3, 60, (4, 6)) for i in range(2)]


@pytest.fixture(scope="module")
def deep() -> Subject:
    """A model whose words depend on one another, with random weights."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=3, n_head=2, n_positions=64)
    config.bos_token_id = config.eos_token_id = None
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return Subject(model, tokenizer, name="deep", fingerprint="x")


def effects(subject: Subject, dictionary: Dictionary, units: list[UnitKey]) -> list[OutputEffect]:
    found: dict[UnitKey, OutputEffect] = {}
    output_effects(subject, dictionary, units, [2.0, 3.0][: len(units)], CONTEXTS[: len(units)], 0, found)
    return [found[unit] for unit in units]


def assert_close(one: OutputEffect, other: OutputEffect) -> None:
    for name, value in asdict(one).items():
        expected = asdict(other)[name]
        assert value == (pytest.approx(expected, abs=1e-3) if isinstance(expected, float) else expected), name


@pytest.mark.parametrize("units", [FEATURES, NEURONS])
def test_a_cache_and_other_units_change_nothing(
    deep: Subject, monkeypatch: pytest.MonkeyPatch, units: list[UnitKey]
) -> None:
    dictionary, plain = any_dictionary("topk"), deep.next_logits
    together = effects(deep, dictionary, units)
    assert_close(effects(deep, dictionary, units[:1])[0], together[0])
    monkeypatch.setattr(deep, "next_logits", lambda tokens, cache=None: (plain(tokens)[0], None))
    for one, other in zip(effects(deep, dictionary, units), together, strict=True):
        assert_close(one, other)


def test_a_rise_is_the_difference_of_logits_at_the_last_token_alone(deep: Subject) -> None:
    dictionary, ids = any_dictionary("relu"), torch.as_tensor(CONTEXTS[0])
    clamp = make_clamp(deep, dictionary, FEATURES[:1])

    def logits(value: float) -> torch.Tensor:
        rows = Rows(torch.zeros(len(ids), dtype=torch.int64), torch.full((len(ids),), value))
        with clamp(rows, tuple(ids.shape), ids.shape[1] - 1):
            return deep.next_logits(ids)[0]

    usable = [i for i in range(len(deep.tokenizer)) if i not in deep.special_ids]
    rises = (logits(2.0) - logits(0.0))[:, usable]
    rises -= rises.mean(dim=1, keepdim=True)
    halves = rises[::2].mean(dim=0), rises[1::2].mean(dim=0)
    held_out = [float(b[a.topk(10).indices].mean()) for a, b in (halves, halves[::-1])]
    [effect] = effects(deep, dictionary, FEATURES[:1])
    assert effect.rise == pytest.approx(sum(held_out) / 2, abs=1e-3)
    top = [usable[i] for i in rises.mean(dim=0).topk(10).indices.tolist()]
    assert effect.raised == tuple(deep.tokenizer.convert_ids_to_tokens(top))
    assert 1 / 20 <= effect.p <= 1


def test_a_transcoder_writes_to_its_own_hook_point(deep: Subject) -> None:
    transcoder = replace(any_dictionary("relu"), hook_point="mlp_in.1", hook_point_out="mlp_out.1")
    [effect] = effects(deep, transcoder, FEATURES[:1])
    assert effect.decoder_precision is not None
    assert effect.rise > 0


def test_without_a_logit_lens_the_decoder_names_nothing(deep: Subject) -> None:
    [effect] = effects(deep, replace(any_dictionary("relu"), hook_point="attn_out.1"), FEATURES[:1])
    inside = replace(any_dictionary("relu"), hook_point="mlp_in.1")
    [unseen] = effects(deep, inside, FEATURES[:1])
    assert effect.decoder_precision is not None
    assert unseen.decoder_precision is None
    assert unseen.decoder_raised == ()


@pytest.mark.parametrize("units", [FEATURES, NEURONS])
def test_a_pass_in_bfloat16_is_clamped_as_one_in_float32(deep: Subject, units: list[UnitKey]) -> None:
    rounded = Subject(deep.model, deep.tokenizer, name="deep", fingerprint="x", precision="bfloat16")
    dictionary = any_dictionary("jumprelu")
    for one, other in zip(effects(rounded, dictionary, units), effects(deep, dictionary, units), strict=True):
        assert one.rise == pytest.approx(other.rise, rel=0.1, abs=0.05)
