"""Objects with `encode` and `decode`, whose equations are found by running them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sae.errors import DictionaryError
from sae.objects.dictionary import dictionary_of
from sae.objects.statements import bos_of, hook_point_of

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
        (SimpleNamespace(encode=torch.tanh, decode=lambda f: f), "none of the known forms"),
        (SimpleNamespace(encode=lambda x: x.repeat(1, 3), decode=nonlinear), "its decode is not a linear map"),
        (SimpleNamespace(encode=lambda x: x @ torch.ones(3, 4), decode=lambda f: f), "does not encode values of shape"),
        (SimpleNamespace(encode=torch.relu, decode=lambda f: f[7]), "does not decode features"),
    ],
    ids=["no encode", "tanh", "decode", "width", "fails"],
)
def test_what_has_no_such_form_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(DictionaryError, match=said) as caught:
        dictionary_of(given, "resid_post.0", X)
    assert "\n" not in str(caught.value)


def test_hook_point_and_bos_are_read_from_a_librarys_configuration() -> None:
    lens = SimpleNamespace(
        cfg=SimpleNamespace(metadata=SimpleNamespace(hook_name="blocks.5.hook_resid_pre", prepend_bos=True))
    )
    assert (hook_point_of(lens), bos_of(lens)) == ("resid_post.4", True)
    assert (hook_point_of(SimpleNamespace(hook_point="resid_post.3")), bos_of(object())) == ("resid_post.3", None)
    assert hook_point_of(SimpleNamespace(config={"hook_name": "blocks.5.hook_pattern"})) is None
