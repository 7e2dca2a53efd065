"""How a dictionary is trained: what a training file's `[train]` may say, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sae.errors import DictionaryError
from sae.training.objectives.jumprelu import Sparsity

Architecture = Literal["batchtopk", "topk", "jumprelu", "matryoshka", "standard"]


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained. All counts of tokens are activations trained on, repeats included."""

    architecture: Architecture = "batchtopk"
    """`batchtopk` with AuxK, exported as jumprelu; `topk` with AuxK; `matryoshka`, nested batchtopk; `jumprelu`; or
    `standard`, Scaling Monosemanticity's ReLU with an L1 penalty."""
    d_sae: int = 4096
    """Number of features."""
    k: int = 32
    """Features active a token: exactly (topk), on average (batchtopk, matryoshka), or aimed at (jumprelu)."""
    l1: float = 5.0
    """Weight of the penalty (standard). Means what it does in the paper: activations have mean squared norm d."""
    sparsity: Sparsity = "target"
    """The penalty of jumprelu: `target`, (L0 / k - 1)²; `l0`, L0 / k; or `tanh`, Anthropic's of January 2025, over k."""
    sparsity_weight: float = 1.0
    """Weight of that penalty against `||x - x_hat||² / d`."""
    prefixes: tuple[int, ...] = ()
    """Widths of the nested dictionaries (matryoshka), ascending, without d_sae. Left out: a 16th, 8th, quarter and half
    of d_sae."""
    tokens: int = 2_000_000
    """Activations to train on."""
    reuse: int = 1
    """Times that each harvested activation is trained on. More than 1 pays where the forward pass is the slower part."""
    batch_tokens: int = 2048
    """Activations in one step."""
    buffer_tokens: int = 131_072
    """Activations mixed at a time."""
    forward_tokens: int = 4096
    """Tokens in one forward pass of the subject."""
    lr: float = 3e-4
    """Adam's learning rate. Anthropic's April 2024 update has 5e-5 for 200,000 steps; short trainings need more."""
    warmup: float = 0.02
    """Share of the steps over which the learning rate rises. It falls to 0 over the last fifth."""
    dead_tokens: int | None = None
    """A feature silent for this many tokens is dead. Left out: a twentieth of `tokens`, at most the paper's 10 million."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Decides the initial weights, what is held out, and every order."""

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
        for name, known in (("architecture", get_args(Architecture)), ("sparsity", get_args(Sparsity))):
            if getattr(self, name) not in known:
                what = f"training: {name} = {getattr(self, name)!r} is not known"
                raise DictionaryError(f"{what}: use {', '.join(known[:-1])} or {known[-1]}")
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
        """Steps of the optimiser."""
        return -(-self.tokens // self.batch_tokens)

    @property
    def dead_after(self) -> int:
        """Tokens of silence after which a feature is dead."""
        return self.dead_tokens or max(1, min(10_000_000, self.tokens // 20))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the nested dictionaries of matryoshka, without the whole."""
        return self.prefixes or tuple(w for w in (self.d_sae // n for n in (16, 8, 4, 2)) if w)
