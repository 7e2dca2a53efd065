"""One dictionary in training: its objective, its optimiser, and the number of tokens for which each feature has been silent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.training.config import TrainConfig
from sae.training.objectives import BatchTopK, JumpReLU, Matryoshka, Objective, Standard, Step, TopK

CLIP = 1.0
"""Largest norm of a step's gradients (Anthropic's April 2024 update)."""
DECAY = 0.2
"""Share of the steps at the end over which the learning rate falls to 0 (the same update)."""


class Learner:
    """Trains one dictionary, batch after batch. The result depends only on its configuration and the batches."""

    def __init__(self, config: TrainConfig, mean: Tensor, precision: str) -> None:
        self.config = config
        self.objective = objective_of(config, mean, precision)
        self.adam = torch.optim.Adam(list(self.objective.parameters.values()), lr=config.lr, fused=True)
        self.silent = torch.zeros(config.d_sae, dtype=torch.long, device=mean.device)
        self.step = 0

    @property
    def done(self) -> bool:
        """Whether all its steps have been made."""
        return self.step >= self.config.steps

    @property
    def dead(self) -> Tensor:
        """Mask (d_sae,) of the features that have been silent for `dead_after` tokens."""
        return self.silent >= self.config.dead_after

    @torch.no_grad()
    def learn(self, x: Tensor) -> Step:
        """Make one step on rows x (n, d)."""
        config, progress = self.config, self.step / self.config.steps
        warmup = (self.step + 1) / (config.warmup * config.steps + 1)
        self.adam.param_groups[0]["lr"] = config.lr * min(1.0, warmup, (1 - progress) / DECAY)
        result = self.objective.gradients(x, progress, self.dead)
        torch.nn.utils.clip_grad_norm_(self.objective.parameters.values(), CLIP)
        self.adam.step()
        self.adam.zero_grad()
        self.objective.after_step()
        self.silent = (self.silent + len(x)).masked_fill_(result.fired, 0)
        self.step += 1
        return result

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint needs to continue from here."""
        return {
            "step": self.step, "silent": self.silent, "parameters": self.objective.parameters,
            "objective": self.objective.state(), "adam": self.adam.state_dict(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        for name, parameter in self.objective.parameters.items():
            parameter.copy_(state["parameters"][name])
        self.objective.restore(state["objective"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.silent = state["step"], state["silent"]

    def dictionary(self, scale: float, hook_point: str, path: str) -> Dictionary:
        """The trained dictionary, for activations that are not scaled by `scale`."""
        fields = self.objective.exported(scale)
        return Dictionary(**fields, hook_point=hook_point, architecture=self.config.architecture, path=path)


def objective_of(config: TrainConfig, mean: Tensor, precision: str) -> Objective:
    """The objective of `config.architecture`, for activations with this mean (d,)."""
    c, first = config, (config.d_sae, mean)
    if c.architecture == "standard":
        return Standard(*first, c.l1, c.seed, precision)
    if c.architecture == "topk":
        return TopK(*first, c.k, c.seed, precision)
    if c.architecture == "batchtopk":
        return BatchTopK(*first, c.k, c.seed, precision, c.steps)
    if c.architecture == "matryoshka":
        return Matryoshka(*first, c.k, c.widths, c.seed, precision, c.steps)
    return JumpReLU(*first, c.k, c.sparsity, c.sparsity_weight, c.seed, precision)
