"""Training speed and quality beside dictionary_learning's and sae-lens's own trainers, interleaved in one process.

Every trainer takes the same batches in the same order: a round is so many steps of each, and its ratio is the peer's time
over ours. All have the same width, k, learning rate, warm-up, decay and patience with dead features; each
normalises its input as its own library does. At the end, held-out variance explained beside the L0 that was reached.

    make bench-train ARGS="--architecture batchtopk"
    python benchmarks/train.py --peers .venv/peers [--architecture NAME ...] [--d-sae N] [--steps N]
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import math
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from sae.learner import Learner
from sae.train import Architecture, TrainConfig

PEERS = ("saelens", "dictionary_learning")
D, TRUE_FEATURES, TRUE_L0 = 512, 8192, 24
POOL, HELD_OUT = 131_072, 8192
WARMUP, DECAY = 0.02, 0.2
STANDARD_L1 = (2.0, 5.0)
"""Penalties between which the L1 dictionaries are compared at equal L0."""


@dataclass
class Runner:
    """One trainer: its steps on rows of mean squared norm d, and held-out variance explained with L0."""

    library: str
    name: str
    step: Callable[[int, Tensor], None]
    measure: Callable[[Tensor], tuple[float, float]]
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, required=True, help="folder with a folder for each library: .venv/peers")
    parser.add_argument("--architecture", action="append", choices=get_args(Architecture))
    parser.add_argument("--d-sae", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    open_peers(given.peers)
    rows = mixture(POOL + HELD_OUT, seed=20_240_401)  # apart from the seeds of initial weights
    pool, held_out = rows[:POOL], rows[POOL:]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32; d {D}, d_sae {given.d_sae}, k {given.k},"
    )
    print(
        f"batch {given.batch_tokens}, {given.steps} steps, lr {given.lr:g}; {TRUE_FEATURES} true features, {TRUE_L0} a token"
    )
    chosen: tuple[Architecture, ...] = given.architecture or get_args(Architecture)
    for architecture in chosen:
        config = TrainConfig(
            architecture=architecture, d_sae=given.d_sae, k=given.k, lr=given.lr, batch_tokens=given.batch_tokens,
            tokens=given.steps * given.batch_tokens, warmup=WARMUP,
        )  # fmt: skip
        compare(config, pool, held_out, given.rounds)


def open_peers(folder: Path) -> None:
    """Make both libraries importable, behind whatever is installed already."""
    places = [folder / name for name in PEERS]
    if not all(place.is_dir() for place in places):
        sys.exit(
            f"{folder} does not hold {' and '.join(PEERS)}: make them with `python -m tests.peers {' '.join(PEERS)}`"
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


def mixture(n: int, seed: int) -> Tensor:
    """Rows (n, D) of mean squared norm D: sums of a few of many directions of Zipfian frequency, with noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(TRUE_FEATURES, D, generator=generator), dim=1)
    frequency = 1 / torch.arange(10, TRUE_FEATURES + 10, dtype=torch.float32)
    parts = []
    for start in range(0, n, 4096):
        size = min(4096, n - start)
        chosen = torch.multinomial(frequency, size * TRUE_L0, replacement=True, generator=generator).view(size, -1)
        strength = torch.randn(size, TRUE_L0, generator=generator).mul(0.5).exp()
        parts.append(torch.nn.functional.embedding_bag(chosen, directions, mode="sum", per_sample_weights=strength))
    x = torch.cat(parts)
    x += 0.1 * x.std() * torch.randn(x.shape, generator=generator)
    return x * (D / x.square().sum(dim=1).mean()).sqrt()


def compare(config: TrainConfig, pool: Tensor, held_out: Tensor, rounds: int) -> None:
    """Train all that have this architecture, interleaved, and print how fast and how good they were."""
    penalties = STANDARD_L1 if config.architecture == "standard" else (config.l1,)
    runners = [r for l1 in penalties for r in trainers(replace(config, l1=l1), pool[: config.batch_tokens])]
    batches = served(pool, config.batch_tokens)
    taken: list[dict[str, float]] = []
    for round_ in range(rounds):
        took: dict[str, float] = {}
        first, last = (config.steps * r // rounds for r in (round_, round_ + 1))
        xs = [next(batches) for _ in range(first, last)]
        for runner in runners[round_ % 2 :] + runners[: round_ % 2]:
            began = time.perf_counter()
            for step, x in enumerate(xs, first):
                runner.step(step, x)
            took[runner.library] = took.get(runner.library, 0.0) + (time.perf_counter() - began) / len(xs) / len(
                penalties
            )
        taken.append(took)
    print(f"\n{config.architecture}")
    ours = statistics.median(took["ours"] for took in taken)
    for runner in runners:
        pace = statistics.median(took[runner.library] for took in taken)
        ratio = statistics.median(took[runner.library] / took["ours"] for took in taken)
        explained, l0 = runner.measure(held_out)
        print(
            f"  {runner.name:<32} {config.batch_tokens / pace:>8,.0f} tokens/s   ours {ratio:5.2f} times as fast"
            f"   variance explained {explained:.4f} at L0 {l0:6.1f}"
        )
    assert ours > 0


def served(pool: Tensor, batch: int) -> Iterator[Tensor]:
    """Batches of the pool, shuffled anew each time through."""
    for epoch in range(1 << 30):
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(epoch))
        yield from (pool[order[i : i + batch]] for i in range(0, len(pool) - batch + 1, batch))


def trainers(config: TrainConfig, sample: Tensor) -> Iterator[Runner]:
    """Ours and every peer's trainer of this architecture."""
    suffix = f" l1 {config.l1:g}" if config.architecture == "standard" else ""
    for library, make in (("ours", ours), ("dictionary_learning", dictionary_learning), ("sae-lens", sae_lens)):
        step, measure = make(config, sample)
        yield Runner(library, library + suffix, step, measure)


Made = tuple[Callable[[int, Tensor], None], Callable[[Tensor], tuple[float, float]]]


def ours(config: TrainConfig, sample: Tensor) -> Made:
    learner = Learner(config, sample.mean(dim=0), "float32")

    def step(number: int, x: Tensor) -> None:
        learner.learn(x)

    def measure(x: Tensor) -> tuple[float, float]:
        dictionary = learner.dictionary(1.0, "resid_post.0", "ours")
        f = dictionary.encode(x)
        if config.architecture in ("batchtopk", "matryoshka"):
            z = learner.objective.encoded(x - dictionary.b_dec)
            f = batch_largest(z.relu(), config.k)
        return quality(x, dictionary.decode(f), f)

    return step, measure


def dictionary_learning(config: TrainConfig, sample: Tensor) -> Made:
    """Its trainers, fed rows of mean squared norm 1 as its `trainSAE` does with `normalize_activations`."""
    names = ("batch_top_k", "jumprelu", "matryoshka_batch_top_k", "standard", "top_k")
    batch_top_k, jumprelu, matryoshka, standard, top_k = (
        peer(f"dictionary_learning.trainers.{name}") for name in names
    )
    common = {
        "steps": config.steps, "activation_dim": D, "dict_size": config.d_sae, "layer": 0, "lm_name": "none",
        "lr": config.lr, "warmup_steps": round(WARMUP * config.steps), "decay_start": round((1 - DECAY) * config.steps),
        "seed": 0, "device": "cpu",
    }  # fmt: skip
    penalty_warmup = {"sparsity_warmup_steps": round(0.05 * config.steps)}
    k_sparse = {"k": config.k, "threshold_start_step": 0, "threshold_beta": 1 - max(0.001, 20 / config.steps)}
    scale = 1 / math.sqrt(D)
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
    common = {"d_in": D, "d_sae": config.d_sae, "dtype": "float32", "device": "cpu", "metadata": saes.SAEMetadata()}
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


if __name__ == "__main__":
    main()
