"""`ai.Probe` in a training loop: the same units, the same figures for the same weights, and the model read once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.planted_world.small_run import Evaluated
from torch import nn
from transformers import AutoTokenizer, LlamaForCausalLM

import autointerp as ai
from autointerp.errors import UsageError
from sae.formats.load import load_dictionary
from sae.subject.model import Subject


class Trained(nn.Module):
    """A dictionary in training: relu, with the bias of the decoder subtracted."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        read = load_dictionary(str(folder))
        self.encoder = nn.Linear(read.d_in, read.d_sae)
        self.W_dec, self.b_dec = nn.Parameter(read.W_dec.clone()), nn.Parameter(read.b_dec.clone())
        self.encoder.weight.data, self.encoder.bias.data = read.W_enc.clone(), read.b_enc.clone()

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.encoder(x - self.b_dec))

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return f @ self.W_dec + self.b_dec


def test_a_probe_measures_the_same_units_again(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    world = evaluated.world
    read: list[int] = []
    forward = Subject.run
    monkeypatch.setattr(Subject, "run", lambda *args: read.append(1) or forward(*args))
    model = LlamaForCausalLM.from_pretrained(world.subject, dtype=torch.float32)
    keys = {"corpus.context_tokens": 64, "harvest.window_tokens": 16, "harvest.bins": 4}
    probe = ai.Probe(
        model,
        world.corpus,
        features=6,
        tokens=10_000,
        tokenizer=AutoTokenizer.from_pretrained(world.subject),
        spec=keys,
    )
    dictionary = Trained(world.dictionary)
    dictionary.train()
    first = probe(dictionary, hook_point="resid_post.0")
    assert dictionary.training
    passes = len(read)
    again = probe(dictionary, hook_point="resid_post.0")
    assert len(read) == passes  # the model is not read again
    assert first.pop("seconds") > 0 < again.pop("seconds")
    assert first == again
    assert all(isinstance(value, float) for value in first.values())
    assert {"l0", "variance_explained", "alive_share", "embedded/mean_grade", "embedded/above_shuffled"} <= first.keys()
    with torch.no_grad():
        dictionary.encoder.weight.copy_(torch.randn_like(dictionary.encoder.weight))
    trained = probe(dictionary, hook_point="resid_post.0")
    assert trained["variance_explained"] < first["variance_explained"]
    with pytest.raises(UsageError, match="does not say where it reads"):
        probe(dictionary)
