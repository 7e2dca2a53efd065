"""Trainers that can be compared: ours, dictionary_learning's and sae-lens's, with the same settings on the same rows.

All have the same width, k, learning rate, warm-up, decay and patience with dead features; each normalises its input as its
own library does. Where a k is kept of a whole batch, so it is in measuring.
"""

from __future__ import annotations

import importlib
import itertools
import math
import sys
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.training.learner import Learner
from sae.training.trainer import TrainConfig

PEERS = ("saelens", "dictionary_learning")
TRUE_FEATURES, TRUE_L0 = 8192, 24
WARMUP, DECAY = 0.02, 0.2


def open_peers(folder: Path) -> None:
    """Make both libraries importable, behind whatever is installed already."""
    places = [folder / name for name in PEERS]
    if not all(place.is_dir() for place in places):
        sys.exit(
            f"{folder} does not hold {' and '.join(PEERS)}: make them with `python -m tests.support.sae.peers {' '.join(PEERS)}`"
        )
    sys.path += map(str, places)
    for name in ("nnsight", "wandb"):  # imported at the top, for harvesting and for logging
        absent: Any = types.ModuleType(name)
        absent.__spec__ = ModuleSpec(name, None)
        absent.LanguageModel = object
        sys.modules[name] = absent


def peer(module: str) -> Any:
    """A module of a peer: neither is installed where types are checked."""
    return importlib.import_module(module)


def mixture(n: int, d: int, seed: int) -> Tensor:
    """Rows (n, d) of mean squared norm d: sums of a few of many directions of Zipfian frequency, with noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(TRUE_FEATURES, d, generator=generator), dim=1)
    frequency = 1 / torch.arange(10, TRUE_FEATURES + 10, dtype=torch.float32)
    parts = []
    for start in range(0, n, 4096):
        size = min(4096, n - start)
        chosen = torch.multinomial(frequency, size * TRUE_L0, replacement=True, generator=generator).view(size, -1)
        strength = torch.randn(size, TRUE_L0, generator=generator).mul(0.5).exp()
        parts.append(torch.nn.functional.embedding_bag(chosen, directions, mode="sum", per_sample_weights=strength))
    x = torch.cat(parts)
    x += 0.1 * x.std() * torch.randn(x.shape, generator=generator)
    return x * (d / x.square().sum(dim=1).mean()).sqrt()


def served(pool: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches of the pool, shuffled anew each time through."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(pool), generator=generator)
        yield from (pool[order[i : i + batch]] for i in range(0, len(pool) - batch + 1, batch))


Made = tuple[Callable[[int, Tensor], None], Callable[[Tensor], tuple[float, float]]]
"""A step (its number, rows (n, d) of mean squared norm d), and held-out variance explained with L0."""


def ours(config: TrainConfig, sample: Tensor) -> Made:
    learner = Learner(config, sample.mean(dim=0), "float32")

    def step(number: int, x: Tensor) -> None:
        learner.learn(x)

    def measure(x: Tensor) -> tuple[float, float]:
        dictionary = learner.dictionary(1.0, "resid_post.0", "ours")
        f = dictionary.encode(x)
        if config.architecture in ("batchtopk", "matryoshka"):
            z = learner.objective.pre_activations(x - dictionary.b_dec)
            f = batch_largest(z.relu(), config.k)
        return quality(x, dictionary.decode(f), f)

    return step, measure


def dictionary_learning(config: TrainConfig, sample: Tensor) -> Made:
    """Its trainers, fed rows of mean squared norm 1 as its `trainSAE` does with `normalize_activations`."""
    names = ("batch_top_k", "jumprelu", "matryoshka_batch_top_k", "standard", "top_k")
    batch_top_k, jumprelu, matryoshka, standard, top_k = (
        peer(f"dictionary_learning.trainers.{name}") for name in names
    )
    d = sample.shape[1]
    common = {
        "steps": config.steps, "activation_dim": d, "dict_size": config.d_sae, "layer": 0, "lm_name": "none",
        "lr": config.lr, "warmup_steps": round(WARMUP * config.steps), "decay_start": round((1 - DECAY) * config.steps),
        "seed": config.seed, "device": "cpu",
    }  # fmt: skip
    penalty_warmup = {"sparsity_warmup_steps": round(0.05 * config.steps)}
    k_sparse = {"k": config.k, "threshold_start_step": 0, "threshold_beta": 1 - max(0.001, 20 / config.steps)}
    scale = 1 / math.sqrt(d)
    trainer: Any
    if config.architecture == "topk":
        trainer = top_k.TopKTrainer(**common, **k_sparse)
    elif config.architecture == "batchtopk":
        trainer = batch_top_k.BatchTopKTrainer(**common, **k_sparse)
    elif config.architecture == "matryoshka":
        ends = [0, *config.widths, config.d_sae]
        shares = [(b - a) / config.d_sae for a, b in itertools.pairwise(ends)]
        trainer = matryoshka.MatryoshkaBatchTopKTrainer(**common, **k_sparse, group_fractions=shares)
    elif config.architecture == "jumprelu":
        trainer = jumprelu.JumpReluTrainer(**common, **penalty_warmup, target_l0=float(config.k))
    else:
        trainer = standard.StandardTrainerAprilUpdate(**common, **penalty_warmup, l1_penalty=config.l1 * scale)
    trainer.dead_feature_threshold = config.dead_after

    def step(number: int, x: Tensor) -> None:
        trainer.update(number, x * scale)

    @torch.no_grad()
    def measure(x: Tensor) -> tuple[float, float]:
        by_batch = {"use_threshold": False} if config.architecture in ("topk", "batchtopk", "matryoshka") else {}
        f = trainer.ae.encode(x * scale, **by_batch)
        return quality(x, trainer.ae.decode(f) / scale, f)

    return step, measure


def sae_lens(config: TrainConfig, sample: Tensor) -> Made:
    """Its `SAETrainer`, one call of `step` a batch, without logging."""
    lens, config_, saes = (peer(f"sae_lens{name}") for name in ("", ".config", ".saes.sae"))
    common = {
        "d_in": sample.shape[1],
        "d_sae": config.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "metadata": saes.SAEMetadata(),
    }
    torch.manual_seed(config.seed)  # it has no seed of its own
    sae: Any
    if config.architecture == "topk":
        sae = lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(**common, k=config.k))
    elif config.architecture == "batchtopk":
        sae = lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(**common, k=config.k))
    elif config.architecture == "matryoshka":
        widths = [*config.widths, config.d_sae]
        sae = lens.MatryoshkaBatchTopKTrainingSAE(
            lens.MatryoshkaBatchTopKTrainingSAEConfig(**common, k=config.k, matryoshka_widths=widths)
        )
    elif config.architecture == "jumprelu":
        sae = lens.JumpReLUTrainingSAE(lens.JumpReLUTrainingSAEConfig(
            **common, jumprelu_sparsity_loss_mode="quadratic", target_l0=float(config.k),
            l0_warm_up_steps=round(0.05 * config.steps), pre_act_loss_coefficient=3e-6,
            jumprelu_bandwidth=0.5, jumprelu_init_threshold=1.0,  # from its own 0.05 and 0.01, L0 stays in the hundreds
        ))  # fmt: skip
    else:
        warm = round(0.05 * config.steps)
        sae = lens.StandardTrainingSAE(
            lens.StandardTrainingSAEConfig(**common, l1_coefficient=config.l1, l1_warm_up_steps=warm)
        )
    settings = config_.SAETrainerConfig(
        total_training_samples=config.steps * config.batch_tokens, train_batch_size_samples=config.batch_tokens,
        lr=config.lr, lr_end=config.lr / 10, lr_warm_up_steps=round(WARMUP * config.steps),
        lr_decay_steps=round(DECAY * config.steps), dead_feature_window=config.dead_after // config.batch_tokens,
    )  # fmt: skip
    trainer = peer("sae_lens.training.sae_trainer").SAETrainer(cfg=settings, sae=sae, data_provider=iter(()))

    def step(number: int, x: Tensor) -> None:
        trainer.step(x)
        trainer.n_training_steps += 1

    @torch.no_grad()
    def measure(x: Tensor) -> tuple[float, float]:
        f = sae.encode(x)
        f = f.to_dense() if f.is_sparse else f
        return quality(x, sae.decode(f), f)

    return step, measure


def batch_largest(f: Tensor, k: int) -> Tensor:
    """f with all but its k * n largest entries set to 0."""
    return f * (f >= f.flatten().topk(k * len(f)).values.min())


def quality(x: Tensor, x_hat: Tensor, f: Tensor) -> tuple[float, float]:
    """Variance explained, and active features a token."""
    error = (x - x_hat).square().sum() / (x - x.mean(dim=0)).square().sum()
    return 1 - error.item(), torch.count_nonzero(f).item() / len(x)


LIBRARIES = {"ours": ours, "dictionary_learning": dictionary_learning, "sae-lens": sae_lens}
