"""The configuration of a training: the keys of a training file's `[train]`, with their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sae.errors import DictionaryError
from sae.training.objectives.jumprelu import Sparsity

Architecture = Literal["batchtopk", "topk", "jumprelu", "matryoshka", "standard"]


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained. All numbers of tokens count activations trained on, including repeats."""

    architecture: Architecture = "batchtopk"
    """`batchtopk` with AuxK, exported as jumprelu; `topk` with AuxK; `matryoshka`, nested batchtopk; `jumprelu`; or
    `standard`, Scaling Monosemanticity's ReLU with an L1 penalty."""
    d_sae: int = 4096
    """Number of features."""
    k: int = 32
    """Active features per token: exact (topk), the average (batchtopk, matryoshka), or the target (jumprelu)."""
    l1: float = 5.0
    """Weight of the L1 penalty (standard), on the paper's scale: activations have mean squared norm d."""
    sparsity: Sparsity = "target"
    """The sparsity penalty (jumprelu): `target`, (L0 / k - 1)²; `l0`, L0 / k; or `tanh`, Anthropic's of January 2025, divided by k."""
    sparsity_weight: float = 1.0
    """Weight of that penalty relative to `||x - x_hat||² / d`."""
    prefixes: tuple[int, ...] = ()
    """Widths of the nested dictionaries (matryoshka), ascending, without d_sae. Default: 1/16, 1/8, 1/4 and 1/2 of d_sae."""
    tokens: int = 2_000_000
    """Activations to train on."""
    reuse: int = 1
    """Number of times that each harvested activation is trained on. More than 1 pays if the forward pass is slower than the training."""
    batch_tokens: int = 2048
    """Activations in one step."""
    buffer_tokens: int = 131_072
    """Activations in the buffer that batches are drawn from."""
    forward_tokens: int = 4096
    """Tokens in one forward pass of the subject."""
    lr: float = 3e-4
    """Adam's learning rate. Anthropic's April 2024 update has 5e-5 for 200,000 steps; shorter trainings need more."""
    warmup: float = 0.02
    """Share of the steps over which the learning rate rises. It falls to 0 over the last fifth."""
    dead_tokens: int | None = None
    """A feature that is silent for this many tokens is dead. Default: 1/20 of `tokens`, at most the paper's 10 million."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Decides the initial weights, the held-out text, and every order."""

    def __post_init__(self) -> None:
        counts = (
            "d_sae",
            "k",
            "tokens",
            "reuse",
            "batch_tokens",
            "buffer_tokens",
            "forward_tokens",
            "checkpoint_steps",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise DictionaryError(f"training: {name} = {getattr(self, name)} must be at least 1")
        for name, options in (("architecture", get_args(Architecture)), ("sparsity", get_args(Sparsity))):
            if (value := getattr(self, name)) not in options:
                use = f"use {', '.join(options[:-1])} or {options[-1]}"
                raise DictionaryError(f"training: {name} = {value!r} is not known: {use}")
        if self.architecture != "standard" and self.k > self.d_sae:
            raise DictionaryError(f"training: k = {self.k} exceeds d_sae = {self.d_sae}: lower it")
        if not self.lr > 0:
            raise DictionaryError(f"training: lr = {self.lr} must be positive")
        if list(self.prefixes) != sorted({p for p in self.prefixes if 0 < p < self.d_sae}):
            raise DictionaryError(
                f"training: prefixes = {list(self.prefixes)} must ascend between 0 and d_sae = {self.d_sae}"
            )

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return -(-self.tokens // self.batch_tokens)

    @property
    def dead_after(self) -> int:
        """Number of tokens of silence after which a feature is dead."""
        return self.dead_tokens or max(1, min(10_000_000, self.tokens // 20))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the nested dictionaries of matryoshka, without d_sae."""
        return self.prefixes or tuple(w for w in (self.d_sae // n for n in (16, 8, 4, 2)) if w)
