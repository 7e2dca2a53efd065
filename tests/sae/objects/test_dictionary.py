"""Objects with `encode` and `decode`, whose equations are found by running them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sae.analysis.chunked import reconstruct
from sae.errors import DictionaryError
from sae.objects.dictionary import CALLED, dictionary_of
from sae.objects.statements import bos_of, hook_point_of, hook_point_out_of

D, D_SAE = 16, 48
X = torch.randn(300, D, generator=torch.Generator().manual_seed(1)) * 2


class Own(nn.Module):
    """A dictionary of one's own: any activation, rows or columns, a bias subtracted before or not."""

    def __init__(self, activation: str, *, columns: bool, centred: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Linear(D, D_SAE)
        self.down = nn.Parameter(torch.randn(D, D_SAE))
        self.level = nn.Parameter(torch.randn(D))
        self.log_threshold = nn.Parameter(torch.rand(D_SAE) - 0.5)
        self.r_mag, self.b_gate = nn.Parameter(torch.rand(D_SAE)), nn.Parameter(torch.randn(D_SAE))
        self.b_mag = nn.Parameter(torch.randn(D_SAE))
        self.activation, self.columns, self.centred = activation, columns, centred

    def encode(self, x: Tensor) -> Tensor:
        x = x.T if self.columns else x
        f = self._activated(x - self.level if self.centred else x)
        return f.T if self.columns else f

    def _activated(self, x: Tensor) -> Tensor:
        z = self.up(x)
        if self.activation == "gated":
            product = x @ self.up.weight.T
            return (product + self.b_gate > 0) * torch.relu(product * self.r_mag.exp() + self.b_mag)
        if self.activation == "jumprelu":
            return z * (z > self.log_threshold.exp())
        if self.activation == "topk":
            values, indices = z.topk(1 if self.training else 5, dim=-1)
            return torch.zeros_like(z).scatter(-1, indices, values.relu())
        return z.relu()

    def decode(self, f: Tensor) -> Tensor:
        out = (f.T if self.columns else f) @ self.down.T + self.level
        return out.T if self.columns else out


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk", "gated"])
def test_its_features_and_reconstructions_are_the_objects(activation: str, columns: bool, centred: bool) -> None:
    given = Own(activation, columns=columns, centred=centred)
    read = dictionary_of(given, "resid_post.0", X)
    assert given.training  # it was out of training mode while it was read, and is back in it
    given.train(False)
    with torch.no_grad():
        f = given.encode(X.T).T if columns else given.encode(X)
        out = given.decode(f.T).T if columns else given.decode(f)
    torch.testing.assert_close(read.encode(X), f)
    torch.testing.assert_close(read.decode(f), out)
    assert read.hook_point == "resid_post.0"


def test_weights_are_those_of_the_moment() -> None:
    given = Own("relu", columns=False, centred=False)
    read = dictionary_of(given, "resid_post.0", X)
    with torch.no_grad():
        given.up.weight += 1
    torch.testing.assert_close(read.encode(X), given.encode(X).detach())


class Scaled:
    """Normalises its decoder when it decodes, so that no tensor of it is the decoder."""

    def __init__(self) -> None:
        self.W = torch.randn(D, D_SAE, generator=torch.Generator().manual_seed(2))

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.W)

    def decode(self, f: Tensor) -> Tensor:
        return f @ (self.W / self.W.norm(dim=0)).T


def test_a_decoder_that_is_no_tensor_is_read_by_running_it() -> None:
    read = dictionary_of(Scaled(), "resid_post.0", X)
    torch.testing.assert_close(read.decoder_norm, torch.ones(D_SAE))


def nonlinear(f: Tensor) -> Tensor:
    return torch.tanh(f[:, :D])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "has no method encode"),
        (SimpleNamespace(encode=lambda x: x.softmax(dim=0), decode=lambda f: f), "depend on the others of its batch"),
        (SimpleNamespace(encode=torch.relu, decode=lambda f: f @ torch.ones(D, 3)), "does not say where"),
        (SimpleNamespace(encode=lambda x: x.repeat(1, 3), decode=nonlinear), "its decode is not a linear map"),
        (SimpleNamespace(encode=lambda x: x @ torch.ones(3, 4), decode=lambda f: f), "does not encode values of shape"),
        (SimpleNamespace(encode=torch.relu, decode=lambda f: f[7]), "has to return a row for each"),
        (SimpleNamespace(encode=torch.relu, decode=lambda f: f @ torch.ones(3, D)), "does not decode features"),
    ],
    ids=["no encode", "batch", "transcoder", "decode", "width", "shape", "fails"],
)
def test_what_has_no_such_form_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(DictionaryError, match=said) as caught:
        dictionary_of(given, "resid_post.0", X)
    assert "\n" not in str(caught.value)


class Tanh(nn.Module):
    """Has an encoder that no equation of `Dictionary` gives, a step before it, and dropout in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.up = nn.Sequential(nn.Linear(D, D), nn.GELU(), nn.Dropout(0.5), nn.Linear(D, D_SAE))
        self.down = nn.Linear(D_SAE, D)

    def encode(self, x: Tensor) -> Tensor:
        return torch.tanh(self.up(x))

    def decode(self, f: Tensor) -> Tensor:
        return self.down(f)


def test_an_encoder_without_an_equation_is_called() -> None:
    given = Tanh()
    read = dictionary_of(given, "resid_post.0", X)
    assert (read.activation, read.d_sae, read.d_in) == ("called", D_SAE, D)
    assert read.notes == (CALLED, "features below 0 count as silent")
    assert given.training
    given.train(False)
    f = given.encode(X).detach()
    torch.testing.assert_close(read.encode(X), f)
    torch.testing.assert_close(read.decode(f), given.decode(f).detach())
    torch.testing.assert_close(reconstruct(read, X)[0], given.decode(f).detach())
    assert read.fingerprint == dictionary_of(given, "resid_post.0", X).fingerprint
    with torch.no_grad():
        given.up[0].weight += 0.1
    assert read.fingerprint != dictionary_of(given, "resid_post.0", X).fingerprint
    torch.testing.assert_close(read.encode(X), given.encode(X).detach())


class InSequences(Own):
    """Takes sequences of values alone, or values with an axis of heads, as SAELens does for attention."""

    def __init__(self, *, heads: bool) -> None:
        super().__init__("topk", columns=False, centred=True)
        self.heads = heads

    def encode(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError("an axis is missing")
        return super().encode(x.flatten(-2) if self.heads else x)

    def decode(self, f: Tensor) -> Tensor:
        out = super().decode(f)
        return out[:, None] if self.heads else out


@pytest.mark.parametrize("heads", [False, True])
def test_values_are_laid_out_as_the_object_takes_them(heads: bool) -> None:
    given = InSequences(heads=heads)
    read = dictionary_of(given, "attn_z.0", X)
    assert read.activation == "topk"
    given.train(False)
    torch.testing.assert_close(read.encode(X), given._activated(X - given.level).detach())


class LayerNormed(Own):
    """As SAELens: the input is normalised, and decoding restores the scale that encoding kept, once."""

    def encode(self, x: Tensor) -> Tensor:
        self.mean = x.mean(dim=-1, keepdim=True)
        self.deviation = x.std(dim=-1, keepdim=True)
        return super().encode((x - self.mean) / (self.deviation + 1e-5))

    def decode(self, f: Tensor) -> Tensor:
        out = super().decode(f) * self.deviation + self.mean
        del self.deviation, self.mean
        return out


def test_a_scale_that_decoding_restores_is_found() -> None:
    given = LayerNormed("jumprelu", columns=False, centred=False)
    read = dictionary_of(given, "resid_post.0", X)
    assert (read.activation, read.input_norm) == ("jumprelu", "layer_norm")
    given.train(False)
    with torch.no_grad():
        f = given.encode(X)
        torch.testing.assert_close(read.encode(X), f)
        torch.testing.assert_close(read.decode(f, X), given.decode(f))


class Restoring(Tanh):
    """Restores a scale that it does not remove, unless it normalises."""

    def __init__(self, *, normalises: bool) -> None:
        super().__init__()
        self.normalises = normalises

    def encode(self, x: Tensor) -> Tensor:
        self.length = x.norm(dim=-1, keepdim=True) / D**0.5
        return super().encode(x / self.length if self.normalises else x)

    def decode(self, f: Tensor) -> Tensor:
        return super().decode(f) * self.length


def test_an_encoder_that_is_called_normalises_what_decoding_restores() -> None:
    given = Restoring(normalises=True)
    read = dictionary_of(given, "resid_post.0", X)
    assert (read.activation, read.input_norm) == ("called", "per_token")
    given.train(False)
    with torch.no_grad():
        f = given.encode(X)
        out = given.decode(f)
        torch.testing.assert_close(read.encode(X), f)
        torch.testing.assert_close(read.decode(f, X), out)
    with pytest.raises(DictionaryError, match="restores the input's scale"):
        dictionary_of(Restoring(normalises=False), "resid_post.0", X)


class Rescaled(Own):
    """As SAELens' topk in training: features are scaled by the norm of their decoder, and chosen over the batch if it is one."""

    def __init__(self, *, over_batch: bool) -> None:
        super().__init__("relu", columns=False, centred=True)
        self.over_batch = over_batch
        self.register_buffer("topk_threshold", torch.tensor(4.0, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        f = super().encode(x) * self.down.norm(dim=0)
        if not self.over_batch:
            values, indices = f.topk(5, dim=-1)
            return torch.zeros_like(f).scatter(-1, indices, values)
        return f * (f >= f.flatten().topk(5 * len(x)).values[-1])

    def decode(self, f: Tensor) -> Tensor:
        return super().decode(f / self.down.norm(dim=0))


def test_features_in_units_of_the_decoder_are_known() -> None:
    given = Rescaled(over_batch=False)
    read = dictionary_of(given, "resid_post.0", X)
    assert (read.activation, read.k) == ("topk", 5)
    torch.testing.assert_close(read.encode(X), given.encode(X).detach())
    torch.testing.assert_close(read.decoder_norm, torch.ones(D_SAE))


def test_a_batch_wise_topk_in_training_has_its_threshold() -> None:
    given = Rescaled(over_batch=True)
    read = dictionary_of(given, "resid_post.0", X)
    assert read.activation == "jumprelu"
    f = (Own.encode(given, X) * given.down.norm(dim=0)).detach()
    torch.testing.assert_close(read.encode(X), f * (f > 4))


def test_a_transcoder_writes_where_it_says() -> None:
    given = SimpleNamespace(
        encode=torch.relu,
        decode=lambda f: f @ torch.ones(D, 3),
        hook_name_out="blocks.2.hook_mlp_out",
    )
    assert dictionary_of(given, "mlp_in.2", X).hook_point_out == "mlp_out.2"
    W = torch.randn(D, D_SAE, generator=torch.Generator().manual_seed(6))
    given.W, given.encode = W, lambda x: torch.relu(((x - x.mean(1, True)) / (x.std(1, keepdim=True) + 1e-5)) @ W)
    given.decode = lambda f: f @ torch.ones(D_SAE, 3)
    read = dictionary_of(given, "mlp_in.2", X)
    assert (read.activation, read.input_norm) == ("relu", "layer_norm")
    torch.testing.assert_close(read.encode(X), given.encode(X))
    coder = SimpleNamespace(cfg=SimpleNamespace(transcode=True))
    assert hook_point_out_of(coder, "mlp_in.3") == "mlp_out.3"
    assert hook_point_out_of(SimpleNamespace(cfg=SimpleNamespace(transcode=False)), "mlp_in.3") is None


def test_hook_point_and_bos_are_read_from_a_librarys_configuration() -> None:
    lens = SimpleNamespace(
        cfg=SimpleNamespace(metadata=SimpleNamespace(hook_name="blocks.5.hook_resid_pre", prepend_bos=True))
    )
    assert (hook_point_of(lens), bos_of(lens)) == ("resid_post.4", True)
    assert (hook_point_of(SimpleNamespace(hook_point="resid_post.3")), bos_of(object())) == ("resid_post.3", None)
    assert hook_point_of(SimpleNamespace(config={"hook_name": "blocks.5.hook_pattern"})) is None
