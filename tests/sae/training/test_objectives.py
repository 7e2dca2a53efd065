"""Objectives: the hand-written gradients equal those of the losses in their docstrings, with sparse and with dense products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sae.training.objectives import BatchTopK, JumpReLU, Matryoshka, Objective, Standard, TopK, active, jumprelu
from sae.training.objectives.active import Dense, Sparse, largest_positive

D, D_SAE, N, K = 16, 64, 32, 4
PREFIXES = (10, 24)


def make(architecture: str) -> Objective:
    torch.manual_seed(0)
    mean = torch.randn(D) * 0.1
    objective: Objective
    if architecture == "standard":
        objective = Standard(D_SAE, mean, 2.0, 0, "float32")
    elif architecture == "topk":
        objective = TopK(D_SAE, mean, K, 0, "float32")
    elif architecture == "batchtopk":
        objective = BatchTopK(D_SAE, mean, K, 0, "float32", 100)
    elif architecture == "matryoshka":
        objective = Matryoshka(D_SAE, mean, K, PREFIXES, 0, "float32", 100)
    else:
        objective = JumpReLU(D_SAE, mean, K, cast(Any, architecture), 0.3, 0, "float32")
    for name in ("b_enc", "b_dec"):  # the start has zeros where a gradient could hide
        objective.parameters[name] += 0.1 * torch.randn(objective.parameters[name].shape)
    return objective


def dense_standard(o: Standard, x: Tensor, dead: Tensor) -> Tensor:
    W_enc, b_enc, W_dec, b_dec = o.parameters.values()  # b_enc is learned in units of sqrt(d)
    f = torch.relu(x @ W_enc.T + b_enc * x.shape[1] ** 0.5)
    loss: Tensor = ((x - f @ W_dec - b_dec).square().sum(dim=1) + o.l1 * (f * W_dec.norm(dim=1)).sum(dim=1)).mean()
    return loss


def auxk(o: Objective, x: Tensor, z: Tensor, x_hat: Tensor, dead: Tensor) -> Tensor:
    left = (x - x_hat).detach()[::4]
    z_dead = z[::4, dead]
    top = z_dead.topk(min(x.shape[1] // 2, int(dead.sum())), dim=1)
    f = torch.zeros_like(z_dead).scatter(1, top.indices, top.values.relu())
    return (f @ o.parameters["W_dec"][dead] - left).square().sum() / left.square().sum() / 32


def ksparse(keep: Callable[[Tensor], Tensor], ends: tuple[int, ...]) -> Callable[[Any, Tensor, Tensor], Tensor]:
    def loss(o: Any, x: Tensor, dead: Tensor) -> Tensor:
        W_enc, b_enc, W_dec, b_dec = o.parameters.values()
        z = (x - b_dec) @ W_enc.T + b_enc
        f = z * keep(z.detach())
        x_hats = [f[:, :end] @ W_dec[:end] + b_dec for end in ends]
        main = torch.stack([(x_hat - x).square().mean() for x_hat in x_hats]).mean()
        z_aux = (x - b_dec.detach()) @ W_enc.T + b_enc
        return main + auxk(o, x, z_aux, x_hats[-1], dead)

    return loss


def keep_by_row(z: Tensor) -> Tensor:
    return (z >= z.topk(K, dim=1).values[:, -1:]) & (z > 0)


def keep_by_batch(z: Tensor) -> Tensor:
    return z >= z.flatten().topk(K * len(z)).values.min()


class Heaviside(torch.autograd.Function):
    """`z > t`; its derivative is that of a ramp of width BANDWIDTH, and reaches t only."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, t: Tensor) -> Tensor:
        ctx.save_for_backward((z - t).abs() < jumprelu.BANDWIDTH / 2)
        return (z > t).float()

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        (within,) = ctx.saved_tensors
        return None, -(g[0] * within).sum(dim=0) / jumprelu.BANDWIDTH


def dense_jumprelu(o: JumpReLU, x: Tensor, dead: Tensor) -> Tensor:
    W_enc, b_enc, W_dec, b_dec, threshold = o.parameters.values()
    t = threshold * o.unit
    z = (x - b_dec) @ W_enc.T + b_enc
    on = cast(Tensor, Heaviside.apply(z, t))  # type: ignore[no-untyped-call]
    # Where f jumps, it jumps by t: through the gate runs t, past it z.
    f = z * on.detach() + t.detach() * (on - on.detach())
    loss = (f @ W_dec + b_dec - x).square().mean()
    if o.sparsity == "target":
        loss = loss + o.weight * (on.sum() / len(x) / o.k - 1) ** 2
    elif o.sparsity == "l0":
        loss = loss + o.weight * on.sum() / len(x) / o.k
    else:
        past, height = torch.tanh(4 * z * on.detach()), torch.tanh(4 * t).detach()
        loss = loss + o.weight * (past + height * (on - on.detach())).sum() / len(x) / o.k
    short = torch.relu(t - z)[:, dead]
    total: Tensor = loss + jumprelu.PRE_ACT * short.sum() / len(x)
    return total


DENSE: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "standard": dense_standard,
    "topk": ksparse(keep_by_row, (D_SAE,)),
    "batchtopk": ksparse(keep_by_batch, (D_SAE,)),
    "matryoshka": ksparse(keep_by_batch, (*PREFIXES, D_SAE)),
    "target": dense_jumprelu,
    "l0": dense_jumprelu,
    "tanh": dense_jumprelu,
}


@pytest.mark.parametrize("dense_share", [0.0, 1.0], ids=["dense", "sparse"])
@pytest.mark.parametrize("architecture", DENSE)
def test_gradients_equal_those_of_the_loss_by_autograd(
    architecture: str, dense_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active, "DENSE_SHARE", dense_share)
    monkeypatch.setattr(jumprelu, "PRE_ACT", 0.01)
    objective = make(architecture)
    x = torch.randn(N, D)
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    dead[[3, 17, 40]] = True
    step = objective.gradients(x, 0.5, dead)
    gradients = {name: cast(Tensor, p.grad).clone() for name, p in objective.parameters.items()}
    for parameter in objective.parameters.values():
        parameter.grad = None
        parameter.requires_grad_()
    loss = DENSE[architecture](objective, x, dead)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = {name: cast(Tensor, p.grad) for name, p in objective.parameters.items()}
    if architecture != "standard":  # the part along a unit row is taken away
        W_dec = objective.parameters["W_dec"].detach()
        expected["W_dec"] = expected["W_dec"] - (expected["W_dec"] * W_dec).sum(dim=1, keepdim=True) * W_dec
    for name in expected:
        assert expected[name].abs().max() > 1e-6
        assert torch.allclose(gradients[name], expected[name], atol=1e-6), name
    if architecture not in ("topk", "batchtopk", "matryoshka"):  # whose figure leaves AuxK out
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
    else:
        assert step.l0 == K


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 3))
def test_sparse_products_equal_dense_ones(seed: int, share: float, levels: int) -> None:
    torch.manual_seed(seed)
    n, d_sae, d = 6, 9, 5
    mask = torch.rand(levels * n, d_sae) < share
    S, W, x, g = torch.randn(levels * n, d_sae), torch.randn(d_sae, d), torch.randn(n, d), torch.randn(levels * n, d)
    sparse, dense = Sparse.at(mask.flatten().nonzero()[:, 0], *S.shape), Dense(mask, torch.matmul)
    s, t = sparse.pick(S), dense.pick(S)
    (times, back), (dense_times, dense_back) = sparse.times(s, W), dense.times(t, W)
    assert torch.allclose(times, dense_times, atol=1e-5)
    assert torch.allclose(back(g), dense_back(g)[mask], atol=1e-5)
    assert torch.allclose(sparse.transposed(s, g), dense.transposed(t, g), atol=1e-5)
    assert torch.allclose(sparse.transposed(s, x), dense.transposed(t, x.repeat(levels, 1)), atol=1e-5)
    assert torch.allclose(sparse.column_sums(s), dense.column_sums(t), atol=1e-5)
    assert torch.allclose(sparse.plus(s.clone(), W[:, 0]), dense.plus(t.clone(), W[:, 0])[mask], atol=1e-5)
    assert torch.equal(sparse.ones(), dense.ones()[mask])
    assert torch.equal(sparse.fired(), dense.fired())


@given(
    st.lists(st.integers(-9, 9), min_size=12, max_size=12), st.integers(1, 12), st.floats(0, 9),
)  # fmt: skip
def test_the_largest_positive_values_are_found_for_any_first_bound(
    values: list[int], count: int, likely: float
) -> None:
    z = torch.tensor(values, dtype=torch.float32).view(3, 4)
    found = largest_positive(z, count, likely).tolist()
    edge = sorted(values, reverse=True)[count - 1]
    assert found == [place for place, value in enumerate(values) if value > 0 and value >= edge]


@pytest.mark.parametrize("architecture", DENSE)
def test_bfloat16_changes_gradients_only_by_its_rounding(architecture: str) -> None:
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
    gradients = []
    for precision in ("float32", "bfloat16"):
        objective = make(architecture)
        objective.precision = precision
        objective.gradients(x, 0.5, torch.zeros(D_SAE, dtype=torch.bool))
        gradients.append(torch.cat([cast(Tensor, p.grad).flatten() for p in objective.parameters.values()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.95
    assert not torch.equal(*gradients)


def test_the_batchtopk_threshold_follows_the_smallest_kept_value_and_is_exported_unscaled() -> None:
    objective = cast(BatchTopK, make("batchtopk"))
    x, dead = torch.randn(N, D), torch.zeros(D_SAE, dtype=torch.bool)
    least = []
    for _ in range(3):
        z = objective.pre_activations(x - objective.parameters["b_dec"])
        least.append(z.flatten().topk(K * N).values[-1].item())
        objective.gradients(x, 0.5, dead)
        objective.parameters["b_enc"] += 0.5
    first, second, third = least
    expected = 0.8 * (0.8 * first + 0.2 * second) + 0.2 * third  # beta is 1 - 20 / 100 steps
    assert objective.threshold == pytest.approx(expected, rel=1e-5)
    assert objective.exported(2.0)["threshold"].tolist() == pytest.approx([expected / 2] * D_SAE, rel=1e-5)


def test_jumprelu_thresholds_start_where_a_batch_has_k_features_per_token() -> None:
    objective = make("target")
    step = objective.gradients(torch.randn(N, D), 0.0, torch.zeros(D_SAE, dtype=torch.bool))
    assert step.l0 == K
    assert objective.exported(1.0)["activation"] == "jumprelu"
