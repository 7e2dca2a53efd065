"""Encoders: blocks equal the activations that dictionary and model compute, in any block size, precision and company."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sae.tiny_dictionaries import D_SAE, D, N, dictionary
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sae.analysis.chunked import feature_chunks
from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary, no_weights
from sae.harvest import encoder
from sae.harvest.activation_blocks import MakeBlock
from sae.harvest.encoder import FeatureEncoder, NeuronEncoder
from sae.harvest.harvest import HarvestPlan, Reading, UnitReader, new_sketch, norm_limit, read_shard, shards
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.units import UnitKey, sample_units
from sae.subject.model import Subject


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and tiles so small that there are several of each."""
    monkeypatch.setattr(encoder, "_DENSE_ELEMENTS", {"cpu": 16 * N})
    monkeypatch.setattr(encoder, "_TILE_ELEMENTS", {"cpu": 1})
    monkeypatch.setattr(encoder, "_SPARSE_UNITS", 7)


def table(blocks: Iterator[MakeBlock], n_units: int, counted: torch.Tensor) -> torch.Tensor:
    """Activations (n_units, N) that blocks give where tokens are counted, and 0 elsewhere."""
    found = torch.full((n_units, len(counted)), torch.nan)
    for block in (make() for make in blocks):
        unit, column = torch.cartesian_prod(torch.arange(len(block.units)), counted.nonzero().squeeze(1)).T
        at = torch.zeros(len(block.units), len(counted))
        at[unit, column] = block.values_at(unit, column)
        events = block.events_above(torch.zeros(len(block.units)))
        listed = torch.zeros_like(at)
        listed[events.unit, events.column] = events.value
        assert torch.equal(listed, at)
        assert torch.equal(block.maxima(), at.amax(dim=1))
        assert found[block.units].isnan().all(), "a unit came twice"
        found[block.units] = at
    return found


class Linear:
    """An encoder that is called, of the weights of a dictionary. It gives features below 0 too."""

    fingerprint = "linear"

    def __init__(self, weights: Dictionary) -> None:
        self.weights = weights

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weights.W_enc, self.weights.b_enc)


def called(weights: Dictionary) -> Dictionary:
    blank = {"W_enc": no_weights(D_SAE, D), "b_enc": torch.zeros(D_SAE)}
    return replace(weights, **blank, activation="called", encoder=Linear(weights))


def test_an_encoder_that_is_called_has_the_activations_of_its_equations() -> None:
    weights, x = dictionary("relu"), torch.randn(N, D)
    torch.testing.assert_close(called(weights).activations(x), weights.activations(x))
    by_chunk = torch.cat([chunk.f for chunk in feature_chunks(called(weights), x)], dim=1)
    torch.testing.assert_close(by_chunk, called(weights).encode(x))


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk", "groupmax", "called"])
@pytest.mark.parametrize("n", [1, 20, D_SAE])
def test_blocks_hold_the_activations_of_the_dictionary(activation: str, n: int) -> None:
    sae = called(dictionary("relu")) if activation == "called" else dictionary(activation)
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(N, D, generator=generator)
    features = torch.randperm(D_SAE, generator=generator)[:n]
    units, counted = torch.randperm(n, generator=generator), torch.rand(N, generator=generator) < 0.8
    found = table(FeatureEncoder(sae, features.tolist(), units).blocks(x, counted), n, counted)
    expected = sae.activations(x, features).T * counted
    torch.testing.assert_close(found[units], expected, rtol=1e-4, atol=1e-4)
    assert expected.count_nonzero() > 0


def test_a_rounded_choice_equals_that_of_float32_except_for_near_ties() -> None:
    """Of 400 tokens with 2,048 features: the same 32 for nearly all, within a rounding error of the 32nd for the rest."""
    generator = torch.Generator().manual_seed(5)
    W_enc, x = torch.randn(2048, 64, generator=generator), torch.randn(400, 64, generator=generator)
    wide = Dictionary(
        W_enc=W_enc, b_enc=torch.randn(2048, generator=generator), W_dec=W_enc, b_dec=torch.zeros(64),
        activation="topk", k=32, hook_point="resid_post.1",
    )  # fmt: skip
    units = torch.arange(2048)
    exact, rounded = (
        FeatureEncoder(wide, units.tolist(), units, rounded=r)._largest(x, torch.empty(400, 2048, dtype=kind))
        for r, kind in ((False, torch.float32), (True, torch.bfloat16))
    )
    order = [found[1].sort(dim=1) for found in (exact, rounded)]
    same = (order[0].values == order[1].values).all(dim=1)
    assert same.float().mean() > 0.98
    values = [found[0].gather(1, o.indices) for found, o in zip((exact, rounded), order, strict=True)]
    torch.testing.assert_close(values[0][same], values[1][same], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(exact[0].sort(dim=1).values, rounded[0].sort(dim=1).values, rtol=0.02, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([40, 64, 320, 1024]), st.integers(1, 20), st.booleans())
def test_the_k_largest_of_a_row_are_found_through_its_chunks(seed: int, d: int, k: int, ties: bool) -> None:
    z = torch.randn(9, d, generator=torch.Generator().manual_seed(seed))
    if ties:
        z = z.round()
    found = encoder.topk_indices(z, k)
    assert all(len(set(row)) == k for row in found.tolist())
    assert torch.equal(z.gather(1, found).sort(dim=1).values, z.sort(dim=1).values[:, d - k :])


def test_blocks_hold_both_signs_of_neurons() -> None:
    m = torch.randn(N, 12, generator=torch.Generator().manual_seed(0))
    signed = [(i, sign) for i in (7, 3, 11, 0) for sign in (-1.0, 1.0)] + [(5, 1.0)]
    counted = torch.arange(N) % 10 > 0
    blocks = NeuronEncoder([i for i, _ in signed], [s for _, s in signed], torch.arange(len(signed)))
    found = table(blocks.blocks(m, counted), len(signed), counted)
    expected = torch.stack([(sign * m[:, i]).relu() * counted for i, sign in signed])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_windows_are_silent_at_tokens_that_are_not_counted(activation: str) -> None:
    sae, x = dictionary(activation), torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    counted = torch.arange(N) % 3 > 0
    expected = sae.activations(x).T * counted
    for block in (make() for make in FeatureEncoder(sae, range(D_SAE), torch.arange(D_SAE)).blocks(x, counted)):
        unit = torch.arange(len(block.units)).repeat(2)
        first = torch.tensor([20, N - 4]).repeat_interleave(len(block.units))
        length = torch.tensor([8, 4]).repeat_interleave(len(block.units))
        windows = block.windows(unit, first, length, 8)
        for row, unit_, begin, seen in zip(windows, unit, first, length, strict=True):
            wanted = expected[block.units[unit_], begin : begin + seen]
            torch.testing.assert_close(row[:seen].float(), wanted, rtol=1e-2, atol=1e-3)
            assert not row[seen:].any()


# A pass over a corpus


def subject(precision: str = "float32") -> Subject:
    torch.manual_seed(0)
    config = GPT2Config(n_embd=D, n_layer=3, n_head=2, vocab_size=200, n_positions=64)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    return Subject(GPT2LMHeadModel(config), tokenizer, name="gpt2", fingerprint="x", precision=precision)


def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 40, 60)
    starts = np.cumsum(lengths) - lengths
    rows = np.array([(i, 0, s, n) for i, (s, n) in enumerate(zip(starts, lengths, strict=True))], dtype=CONTEXT)
    tokens = rng.integers(2, 200, lengths.sum()).astype(np.uint32)
    return Corpus(tokens, rows, len(rows), int(lengths.sum()), "x", 1, frozenset({9}))


def reading(model: Subject, sae: Dictionary, text: Corpus, seed: int = 0) -> Reading:
    units: tuple[UnitKey, ...] = sample_units(D_SAE, 4 * D, features=30, neurons=20, seed=seed)
    plan = HarvestPlan(units, Quota(2, 3, 6, 4), 8, skip_positions=1, max_norm_ratio=10, seed=seed, batch_tokens=128)
    reader = UnitReader(model, sae, units)
    return Reading(reader, plan, norm_limit(reader, text, plan), new_sketch(plan))


def read(readings: list[Reading], text: Corpus) -> list[Sketch]:
    for shard in shards(text, 1 << 20, 128):
        read_shard(readings, text, shard)
    return [each.sketch for each in readings]


def test_dictionaries_that_share_a_pass_get_the_same_sketches_as_alone() -> None:
    model, text = subject(), corpus()
    given = [
        dictionary("jumprelu", hook_point="resid_post.0"),
        dictionary("topk", hook_point="resid_post.2", seed=1),
        dictionary("relu", hook_point="mlp_out.1", seed=2),
    ]
    together = read([reading(model, sae, text, seed) for seed, sae in enumerate(given)], text)
    for seed, (sae, shared) in enumerate(zip(given, together, strict=True)):
        [alone] = read([reading(model, sae, text, seed)], text)
        left, right = alone.state(), shared.state()
        assert len(left["events.token"]) > 500
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def test_readings_of_different_batches_cannot_share_a_pass() -> None:
    model, text = subject(), corpus()
    first, second = (reading(model, dictionary("relu"), text) for _ in range(2))
    other = HarvestPlan(**first.plan.__dict__ | {"batch_tokens": 64})
    with pytest.raises(ValueError, match="batch_tokens"):
        read([first, Reading(second.reader, other, second.limit, second.sketch)], text)


def test_top_exemplars_in_bfloat16_are_nearly_those_in_float32() -> None:
    text = corpus()
    exact, half = (read([reading(subject(p), dictionary("jumprelu"), text)], text)[0] for p in ("float32", "bfloat16"))
    assert abs(exact.n_counted - half.n_counted) < 5
    torch.testing.assert_close(half.maximum, exact.maximum, rtol=0.05, atol=0.05)

    def tops(sketch: Sketch) -> dict[tuple[int, int], float]:
        state = sketch.state()
        keys = zip(state["tops.head"].tolist(), state["tops.token"].tolist(), strict=True)
        return dict(zip(keys, state["tops.activation"].tolist(), strict=True))

    left, right = tops(exact), tops(half)
    both = left.keys() & right.keys()
    assert len(both) > 0.8 * len(left)
    np.testing.assert_allclose([left[k] for k in both], [right[k] for k in both], rtol=0.1, atol=0.1)
