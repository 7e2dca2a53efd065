"""Dictionaries: encode, activations and decode against the equations written out in float64, and invalid tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError

D_IN, D_SAE, K = 6, 20, 4


def weights(seed: int = 0) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    return {
        "W_enc": torch.randn(D_SAE, D_IN, generator=g),
        "b_enc": torch.randn(D_SAE, generator=g),
        "W_dec": torch.randn(D_SAE, D_IN, generator=g),
        "b_dec": torch.randn(D_IN, generator=g),
        "hook_point": "resid_post.1",
    }


def dictionary(activation: str, **changes: Any) -> Dictionary:
    extra: dict[str, dict[str, Any]] = {
        "relu": {},
        "topk": {"k": K},
        "jumprelu": {"threshold": torch.linspace(0, 3, D_SAE)},
    }
    return Dictionary(**{**weights(), "activation": activation, **extra[activation], **changes})


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, D_IN, generator=torch.Generator().manual_seed(1)) * 2


def reference(d: Dictionary, x: Tensor) -> Tensor:
    """One token and one feature at a time."""
    rows = []
    for token in x.reshape(-1, D_IN).double():
        v = token
        if d.input_norm == "scale":
            v = token * d.input_scale
        if d.input_norm == "per_token":
            v = token * D_IN**0.5 / (token @ token) ** 0.5
        if d.input_norm == "layer_norm":
            mean = token.sum() / D_IN
            v = (token - mean) / ((((token - mean) ** 2).sum() / (D_IN - 1)) ** 0.5 + 1e-5)
        if d.apply_b_dec_to_input:
            v = v - d.b_dec.double()
        z = [float(d.W_enc[i].double() @ v + d.b_enc[i].double()) for i in range(D_SAE)]
        kept = set(range(D_SAE)) if d.k is None else set(sorted(range(D_SAE), key=lambda i: -z[i])[: d.k])
        gate = [0.0] * D_SAE if d.threshold is None else d.threshold.tolist()
        rows.append([z[i] if i in kept and z[i] > gate[i] and z[i] > 0 else 0.0 for i in range(D_SAE)])
    return torch.tensor(rows).reshape(*x.shape[:-1], D_SAE)


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
@pytest.mark.parametrize("norm", ["none", "scale", "layer_norm", "per_token"])
@pytest.mark.parametrize("c", [False, True])
def test_encode_follows_the_equations(activation: str, norm: str, c: bool) -> None:
    d = dictionary(activation, input_norm=norm, input_scale=0.7, apply_b_dec_to_input=c)
    x = inputs(3, 5)
    expected = reference(d, x)
    assert 0 < (expected > 0).float().mean() < 1
    torch.testing.assert_close(d.encode(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
def test_some_features_equal_the_columns_of_all_features(activation: str) -> None:
    d = dictionary(activation)
    features = torch.tensor([7, 0, 19, 7])
    torch.testing.assert_close(d.encode(inputs(9), features), d.encode(inputs(9))[:, features], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        d.activations(inputs(9), features), d.activations(inputs(9))[:, features], rtol=1e-5, atol=1e-6
    )


def test_topk_in_chunks_equals_topk_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    d = dictionary("topk")
    whole = d.encode(inputs(2, 7))
    monkeypatch.setattr("sae.dictionary._TOPK_ELEMENTS", 3 * D_SAE)
    torch.testing.assert_close(d.encode(inputs(2, 7)), whole)
    assert d.encode(inputs(0)).shape == (0, D_SAE)


def test_topk_breaks_ties_in_the_same_way_for_some_and_for_all_features() -> None:
    d = dictionary("topk", W_enc=torch.ones(D_SAE, D_IN), b_enc=torch.ones(D_SAE))
    x = torch.ones(1, D_IN)
    some = torch.cat([d.encode(x, torch.tensor([i])) for i in range(D_SAE)], dim=1)
    assert torch.equal(some, d.encode(x))
    assert int((some > 0).sum()) == K


def test_activation_is_feature_times_decoder_norm() -> None:
    d = dictionary("relu")
    norms = torch.tensor([sum(float(v) ** 2 for v in row) ** 0.5 for row in d.W_dec])
    torch.testing.assert_close(d.activations(inputs(4)), d.encode(inputs(4)) * norms)


def test_a_value_at_its_threshold_is_silent() -> None:
    d = dictionary(
        "jumprelu", W_enc=torch.eye(D_SAE, D_IN), b_enc=torch.zeros(D_SAE), threshold=torch.full((D_SAE,), 2.0)
    )
    x = torch.tensor([[2.0, 2.5, -3.0, 0.0, 0.0, 0.0]])
    assert d.encode(x)[0, :4].tolist() == [0.0, 2.5, 0.0, 0.0]


@pytest.mark.parametrize("norm", ["none", "scale", "layer_norm", "per_token"])
def test_decode_undoes_the_normalisation(norm: Any) -> None:
    # With an orthonormal decoder equal to the encoder and no sparsity, decode(encode(x)) is x.
    q = torch.linalg.qr(torch.randn(D_IN, D_IN, generator=torch.Generator().manual_seed(2)))[0]
    both = torch.cat([q, -q])
    d = Dictionary(
        both, torch.zeros(2 * D_IN), both, torch.zeros(D_IN), "relu", "resid_post.0", input_norm=norm, input_scale=0.3
    )
    x = inputs(4)
    torch.testing.assert_close(d.decode(d.encode(x), x), x, rtol=1e-3, atol=1e-4)


def test_an_all_zero_token_is_not_nan() -> None:
    for norm in ("layer_norm", "per_token"):
        assert torch.isfinite(dictionary("relu", input_norm=norm).encode(torch.zeros(1, D_IN))).all()


def test_the_fingerprint_changes_with_everything_that_decides_an_activation() -> None:
    base = dictionary("topk")
    assert base.fingerprint == dictionary("topk").fingerprint == dictionary("topk", path="elsewhere").fingerprint
    nudged = weights()["W_enc"]
    nudged[3, 2] += 1e-3
    others = [
        dictionary("topk", W_enc=nudged),
        dictionary("topk", k=K + 1),
        dictionary("relu"),
        dictionary("topk", apply_b_dec_to_input=True),
        dictionary("topk", hook_point="resid_post.2"),
        dictionary("topk", input_norm="layer_norm"),
    ]
    assert len({d.fingerprint for d in [base, *others]}) == 7


def test_to_changes_the_precision_and_keeps_the_fingerprint() -> None:
    d = dictionary("jumprelu")
    half = d.to("cpu", torch.bfloat16)
    assert half.W_enc.dtype == torch.bfloat16
    assert half.threshold is not None
    assert half.threshold.dtype == torch.bfloat16
    assert half.fingerprint == d.fingerprint
    assert torch.equal(half.decoder_norm, d.decoder_norm)
    assert d.to("cpu", torch.float32) is d


NAN = torch.full((D_SAE, D_IN), float("nan"))
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"W_enc": NAN}, "W_enc holds NaN"),
    "infinite": ({"b_dec": torch.full((D_IN,), float("inf"))}, "b_dec holds NaN or infinite"),
    "nan threshold": ({"threshold": NAN[:, 0]}, "threshold holds NaN"),
    "transposed": ({"W_dec": torch.zeros(D_IN, D_SAE)}, r"W_dec has shape \(6, 20\)"),
    "short bias": ({"b_enc": torch.zeros(3)}, r"b_enc has shape \(3,\)"),
    "flat": ({"W_enc": torch.zeros(5)}, r"W_enc has shape \(5,\)"),
    "empty": ({"W_enc": torch.zeros(0, 6)}, r"W_enc has shape \(0, 6\)"),
    "negative threshold": ({"threshold": torch.full((D_SAE,), -1.0)}, "threshold -1 is negative"),
    "scalar threshold": ({"threshold": torch.tensor(1.0)}, r"threshold has shape \(\)"),
    "no threshold": ({"threshold": None}, "does not fit threshold"),
    "k of 0": ({"activation": "topk", "threshold": None, "k": 0}, r"k = 0 is not in 1\.\.20"),
    "k too large": ({"activation": "topk", "threshold": None, "k": 21}, r"k = 21 is not in 1\.\.20"),
    "no k": ({"activation": "topk", "threshold": None}, "k = None"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tensors_are_refused_in_one_line(case: str) -> None:
    changes, message = BROKEN[case]
    with pytest.raises(DictionaryError, match=message) as caught:
        replace(dictionary("jumprelu", path="some/where"), **changes)
    assert str(caught.value).startswith("some/where: ")
    assert "\n" not in str(caught.value)


def test_a_width_that_does_not_fit_is_refused_with_both_numbers() -> None:
    d = dictionary("relu")
    d.check_fits(D_IN, "tiny")
    with pytest.raises(DictionaryError, match=r"reads 6 dimensions, but resid_post\.1 of tiny has 8"):
        d.check_fits(8, "tiny")
