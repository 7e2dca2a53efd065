"""Small dictionaries in the formats' layouts, and how tests look at what is read from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError

D_IN, D_SAE, K = 6, 16, 3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = normal(11, D_IN, seed=9) * 3
W_ENC, W_DEC = normal(D_IN, D_SAE, seed=0), normal(D_SAE, D_IN, seed=1)
B_ENC, B_DEC = normal(D_SAE, seed=2), normal(D_IN, seed=3)
THRESHOLD = normal(D_SAE, seed=4).abs()
BASE = {"W_enc": W_ENC, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
HOOK = {"hook_name": "blocks.4.hook_resid_post"}
SPARSIFY = {"encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
NAN = torch.full((D_SAE,), float("nan"))


def write_tensors(file: Path, tensors: dict[str, Tensor]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}, file)


def write_saelens(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    base = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "apply_b_dec_to_input": False, "metadata": HOOK}
    write_tensors(folder / "sae_weights.safetensors", tensors or BASE)
    (folder / "cfg.json").write_text(json.dumps({**base, **config}))
    return folder


def write_npz(folder: Path, **changes: Any) -> Path:
    """Gemma Scope 1's `params.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {**{name: t.numpy() for name, t in BASE.items()}, "threshold": THRESHOLD.numpy(), **changes}
    np.savez(folder / "params.npz", **{name: a for name, a in arrays.items() if a is not None})
    return folder


def write_sparsify(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    write_tensors(folder / "sae.safetensors", tensors or SPARSIFY)
    (folder / "cfg.json").write_text(
        json.dumps({"activation": "topk", "k": K, "num_latents": 0, "d_in": D_IN, **config})
    )
    return folder


def largest(z: Tensor, k: int) -> Tensor:
    """z where it is positive and among the k largest of its row, else 0."""
    return z.relu() * (z >= z.sort(dim=-1, descending=True).values[..., k - 1 : k])


def same(actual: Tensor, expected: Tensor) -> None:
    """Equal activations, of which some but not all are 0."""
    assert 0.02 < (expected > 0).float().mean() < 0.9
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def equals_the_library(folder: Path, dictionary: Dictionary) -> None:
    """Encode and forward pass are those in `reference.safetensors`, within 1e-5 of their largest value."""
    held = load_file(folder / "reference.safetensors")
    f = dictionary.encode(held["x"])
    assert 0.01 < (held["f"] > 0).float().mean() < 0.95
    close(f, held["f"])
    close(dictionary.decode(f, held["x"]), held["x_hat"])


def close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def refused(load: Callable[[], Any], *needles: str) -> None:
    """A `DictionaryError` of one line that holds these words."""
    with pytest.raises(DictionaryError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for needle in needles:
        assert needle in text
