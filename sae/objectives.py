"""The two training objectives: what a step minimises, its gradients, and what the result becomes as a dictionary.

Rows are activations scaled to a mean squared norm of d. Weights are row-major as in `sae.dictionary`: `W_enc`, `W_dec`
(d_sae, d_in), `b_enc` (d_sae,), `b_dec` (d_in,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

AUX_COEFFICIENT = 1 / 32
AUX_ROWS = 4
"""AuxK looks at every so many-th part of a batch: dead features need a direction, not precision."""


@dataclass
class Step:
    """Figures of one step: mean loss a token, features active a token, fraction of variance unexplained, which fired."""

    loss: float
    l0: float
    fvu: float
    fired: Tensor


class Objective(Protocol):
    """One way to train: `parameters` are what the optimiser moves."""

    parameters: dict[str, Tensor]

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        """Put the gradients of the loss on rows x (n, d) into `parameters`. `progress` runs from 0 to 1; `dead` (d_sae,) bool."""

    def after_step(self) -> None:
        """Called after each step of the optimiser."""

    def exported(self, scale: float) -> dict[str, Any]:
        """Fields of the `Dictionary` that reads activations before they were scaled by `scale`."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold besides the parameters."""

    def restore(self, state: dict[str, Any]) -> None: ...


class Standard:
    """Scaling Monosemanticity's loss: `||x - x_hat||^2 + l1 * sum_i f_i ||W_dec_i||`, with ReLU and no pre-encoder bias.

    Initialised and warmed up as in Anthropic's April 2024 update: decoder rows of norm 0.1, W_enc = W_dec, biases 0, the penalty
    growing over the first 5% of training.
    """

    def __init__(self, d_sae: int, mean: Tensor, l1: float, seed: int, precision: str) -> None:
        W_dec = 0.1 * _directions(d_sae, mean, seed)
        zeros = torch.zeros(d_sae, device=mean.device)
        self.parameters = {"W_enc": W_dec.clone(), "b_enc": zeros, "W_dec": W_dec, "b_dec": torch.zeros_like(mean)}
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        self.l1, self.precision = l1, precision

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        W_enc, b_enc, W_dec, b_dec = self.parameters.values()
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            f = torch.relu(x @ W_enc.T + b_enc)
            x_hat = f @ W_dec + b_dec
        f, error = f.float(), (x_hat.float() - x).square().sum()
        penalty = (f.sum(dim=0) * W_dec.norm(dim=1)).sum()
        loss = (error + self.l1 * min(1.0, progress / 0.05) * penalty) / len(x)
        parameters = list(self.parameters.values())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        active = f.detach() > 0
        return Step(loss.item(), active.sum().item() / len(x), error.item() / _variance(x), active.any(dim=0))

    def after_step(self) -> None:
        pass

    def exported(self, scale: float) -> dict[str, Any]:
        W_enc, b_enc, W_dec, b_dec = (p.detach() for p in self.parameters.values())
        norm = W_dec.norm(dim=1).clamp_min(1e-12)
        return {
            "W_enc": W_enc * norm[:, None], "b_enc": b_enc * norm / scale, "W_dec": W_dec / norm[:, None],
            "b_dec": b_dec / scale, "activation": "relu", "apply_b_dec_to_input": False,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class BatchTopK:
    """BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): a batch keeps its k * n largest pre-activations; loss `||x - x_hat||^2 / d`.

    Decoder rows have norm 1. AuxK (Gao et al. 2024, arXiv 2406.04093): dead features reconstruct what the others left over. The
    threshold at which the dictionary later runs as jumprelu is a moving average of the least value kept. Gradients are
    written out because all but one product are sparse: on CPUs this is several times faster than autograd.
    """

    def __init__(self, d_sae: int, mean: Tensor, k: int, seed: int, precision: str, steps: int) -> None:
        W_dec = _directions(d_sae, mean, seed)
        zeros = torch.zeros(d_sae, device=mean.device)
        self.parameters = {"W_enc": W_dec.clone(), "b_enc": zeros, "W_dec": W_dec, "b_dec": mean.clone()}
        self.k, self.precision = k, precision
        # beta 0.999 from step 1000 on, sooner and shorter where training is: the average must forget the early encoder.
        self.beta = 1 - max(0.001, 20 / steps)
        self.threshold, self.least = -1.0, 0.0

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        W_enc, b_enc, W_dec, b_dec = self.parameters.values()
        centred = x - b_dec
        z = self._product(centred, W_enc.T) + b_enc
        kept = self._largest(z, self.k * len(x))
        rows, columns = kept // len(b_enc), kept % len(b_enc)
        f = z.flatten()[kept]
        error = _rows_times(rows, columns, f, len(x), W_dec) + b_dec - x
        g = error * (2 / error.numel())
        dz = self._product(g, W_dec.T).flatten()[kept]
        by_column = torch.argsort(columns, stable=True)
        c, r = columns[by_column], rows[by_column]
        ones = torch.ones(len(x), 1, device=x.device)
        gradients = {
            "W_enc": _rows_times(c, r, dz[by_column], len(b_enc), centred),
            "b_enc": _rows_times(c, r, dz[by_column], len(b_enc), ones)[:, 0],
            "W_dec": _rows_times(c, r, f[by_column], len(b_enc), g),
        }
        gradients["b_dec"] = g.sum(dim=0) - gradients["b_enc"] @ W_enc
        if bool(dead.any()):
            self._add_auxk(gradients, centred[::AUX_ROWS], z[::AUX_ROWS], -error[::AUX_ROWS], dead.nonzero()[:, 0])
        along = (gradients["W_dec"] * W_dec).sum(dim=1, keepdim=True)
        gradients["W_dec"] -= along * W_dec  # the part that would only change the norm
        for name, gradient in gradients.items():
            self.parameters[name].grad = gradient
        self._update_threshold(f)
        fired = torch.zeros_like(dead).index_fill_(0, columns, True)
        squared = error.square().sum().item()
        return Step(squared / error.numel(), len(kept) / len(x), squared / _variance(x), fired)

    def after_step(self) -> None:
        W_dec = self.parameters["W_dec"]
        normalize(W_dec, dim=1, out=W_dec)

    def exported(self, scale: float) -> dict[str, Any]:
        W_enc, b_enc, W_dec, b_dec = (p.detach() for p in self.parameters.values())
        threshold = torch.full_like(b_enc, max(self.threshold, 0.0) / scale)
        return {
            "W_enc": W_enc, "b_enc": b_enc / scale, "W_dec": W_dec, "b_dec": b_dec / scale,
            "activation": "jumprelu", "threshold": threshold, "apply_b_dec_to_input": True,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "least": self.least}

    def restore(self, state: dict[str, Any]) -> None:
        self.threshold, self.least = state["threshold"], state["least"]

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.bfloat16() @ b.bfloat16()).float() if self.precision == "bfloat16" else a @ b

    def _largest(self, z: Tensor, count: int) -> Tensor:
        """Places in flattened z of its `count` largest positive values, ascending; equal values at the edge are all kept."""
        flat = z.flatten()
        # Most values are far below the last step's least: looking only above half of it spares most of the sort.
        places = (flat > self.least / 2).nonzero()[:, 0]
        if len(places) < count:
            places = (flat > 0).nonzero()[:, 0]
        values = flat[places]
        if len(places) > count:
            places = places[values >= values.topk(count, sorted=False).values.min()]
        return places

    def _update_threshold(self, f: Tensor) -> None:
        if len(f):
            self.least = f.min().item()
            before = self.least if self.threshold < 0 else self.threshold
            self.threshold = self.beta * before + (1 - self.beta) * self.least

    def _add_auxk(self, gradients: dict[str, Tensor], x: Tensor, z: Tensor, left: Tensor, dead: Tensor) -> None:
        """Gradients of `AUX_COEFFICIENT * ||left - left_hat||^2 / ||left||^2`, left_hat from each row's d/2 largest dead features."""
        values, places = z[:, dead].topk(min(x.shape[1] // 2, len(dead)), dim=1)
        f = torch.zeros(len(x), len(dead), device=x.device).scatter_(1, places, values.relu())
        W_dec = self.parameters["W_dec"][dead]
        g = (self._product(f, W_dec) - left) * (2 * AUX_COEFFICIENT / left.square().sum().clamp_min(1e-12))
        dz = self._product(g, W_dec.T) * (f > 0)
        gradients["W_dec"].index_add_(0, dead, self._product(f.T, g))
        gradients["W_enc"].index_add_(0, dead, self._product(dz.T, x))
        gradients["b_enc"].index_add_(0, dead, dz.sum(dim=0))


def _directions(d_sae: int, like: Tensor, seed: int) -> Tensor:
    """Random unit rows (d_sae, d), the same on every device."""
    rows = torch.randn(d_sae, len(like), generator=torch.Generator().manual_seed(seed))
    return normalize(rows, dim=1).to(like.device)


def _rows_times(rows: Tensor, columns: Tensor, values: Tensor, n_rows: int, dense: Tensor) -> Tensor:
    """`S @ dense` for the sparse matrix S (n_rows, len(dense)) with `values` at (rows, columns), rows ascending."""
    starts = torch.bincount(rows, minlength=n_rows).cumsum(0).roll(1)
    starts[0] = 0
    return embedding_bag(columns, dense, starts, mode="sum", per_sample_weights=values)


def _variance(x: Tensor) -> float:
    return (x - x.mean(dim=0)).square().sum().clamp_min(1e-12).item()
