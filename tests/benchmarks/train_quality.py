"""Variance explained at equal L0: each library with the learning rate that suits it, on data that had no say in that.

Every library tries the same learning rates with one seed; the best of them is trained anew on each of the fresh seeds, which
decide the initial weights, the order of the rows, and the mixture that they come from. The difference is taken seed by seed.
Where L0 is not set but reached, as under a penalty, the penalty is moved until L0 = k lies between two trainings, and the
variance explained is read off between them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor
from trainers import LIBRARIES, mixture, served

from sae.training.trainer import TrainConfig

LEARNING_RATES = (2e-3, 4e-3, 8e-3, 16e-3)
HELD_OUT = 8192
L1, L1_STEP = 3.0, 1.6
"""The first penalty of the L1 dictionaries, and the factor to the next."""
AIM_STEP = 1.3
"""Factor from one L0 that jumprelu aims at to the next; the first is k."""
TRIES = 8
"""Penalties tried at most."""

Rows = Callable[[int], tuple[Tensor, Tensor]]
"""Rows (n, d) to train on and held-out ones, for a seed. Seed 0 is for choosing."""


def mixtures(d: int, count: int) -> Rows:
    """A mixture for each seed, with directions of its own."""

    def rows(seed: int) -> tuple[Tensor, Tensor]:
        x = mixture(count + HELD_OUT, d, 1000 + seed)
        return x[:count], x[count:]

    return rows


def demo(d: int, count: int) -> Rows:
    """Activations of the demo's model (d is its own): documents held out for choosing, and others for the comparison."""
    import torch

    from autointerp.demo.assets import CONTEXT_TOKENS, FULL, prepare
    from autointerp.harvest.inputs import open_corpus, open_subject
    from autointerp.progress import quiet
    from autointerp.spec.sections import Corpus, Subject
    from sae.training.activation_buffer import ActivationStream, split

    assets = prepare(quiet)
    subject = open_subject(Subject(model=str(assets.model)), quiet)
    sources = tuple(map(str, assets.corpus_files))
    corpus = open_corpus(Corpus(sources=sources, context_tokens=CONTEXT_TOKENS, max_tokens=2_000_000), subject, quiet)
    train_rows, held_out = split(corpus, 0, 2 * HELD_OUT)
    stream = ActivationStream(subject, corpus, FULL.hook_point, train_rows, 0, 4096)
    stream.calibrate()
    x = stream.take(count)
    halves = (held_out[::2], held_out[1::2])
    kept = [[part[part.norm(dim=1) <= stream.limit] for part in stream.unscaled(half)] for half in halves]
    choosing, comparing = (torch.cat(parts) * stream.scale for parts in kept)
    return lambda seed: (x, comparing if seed else choosing)


def study(config: TrainConfig, rows: Rows, seeds: int) -> None:
    """Choose each library's learning rate, compare on fresh seeds, and print."""
    print(f"\n{config.architecture}", flush=True)
    chosen = {}
    for library in LIBRARIES:
        found = {lr: explained(library, replace(config, lr=lr), *rows(0))[0] for lr in LEARNING_RATES}
        chosen[library] = max(found, key=lambda lr: (not math.isnan(found[lr]), found[lr]))
        print(f"  {library:<20} lr " + ", ".join(f"{lr:g}: {value:.4f}" for lr, value in found.items()), flush=True)
    reached: dict[str, list[tuple[float, str]]] = {library: [] for library in LIBRARIES}
    for seed in range(1, seeds + 1):
        pool, held_out = rows(seed)
        for library, lr in chosen.items():
            reached[library].append(explained(library, replace(config, lr=lr, seed=seed), pool, held_out))
    for library, results in reached.items():
        values = [value for value, _ in results]
        ahead = [mine - value for (mine, _), value in zip(reached["ours"], values, strict=True)]
        against = "" if library == "ours" else f"   ours {over(ahead, '+')}"
        print(f"  {library:<20} at lr {chosen[library]:g}: {over(values)}{against}   L0 {results[0][1]}", flush=True)


def over(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):{sign}.4f} (sd {statistics.stdev(values):.4f})"


def explained(library: str, config: TrainConfig, pool: Tensor, held_out: Tensor) -> tuple[float, str]:
    """Held-out variance explained at L0 = k, and the L0 that were measured."""
    points: list[tuple[float, float]] = []
    strength = 0
    while len(points) < TRIES:
        points.append(trained(library, pressed(config, strength), pool, held_out))
        dense = [l0 > config.k for l0, _ in points]
        if config.architecture not in ("standard", "jumprelu") or len(set(dense)) == 2:
            break
        strength += 1 if dense[-1] else -1
    return at_l0(points, config.k), ", ".join(f"{l0:.1f}" for l0, _ in points)


def pressed(config: TrainConfig, strength: int) -> TrainConfig:
    """The configuration with its penalty moved by so many steps."""
    if config.architecture == "standard":
        return replace(config, l1=L1 * L1_STEP**strength)
    if config.architecture == "jumprelu":
        return replace(config, k=round(config.k * AIM_STEP**-strength))
    return config


def trained(library: str, config: TrainConfig, pool: Tensor, held_out: Tensor) -> tuple[float, float]:
    """L0 and the variance explained, held out, after training."""
    step, measure = LIBRARIES[library](config, pool[: config.batch_tokens])
    batches = served(pool, config.batch_tokens, config.seed)
    for number in range(config.steps):
        step(number, next(batches))
    value, l0 = measure(held_out)
    return l0, value


def at_l0(points: Sequence[tuple[float, float]], k: int) -> float:
    """The value at L0 = k on the line, over log L0, through the two points (L0, value) around it; nan where none are."""
    if len(points) == 1:
        return points[0][1]
    curve = sorted((math.log(max(l0, 1e-3)), value) for l0, value in points)
    after = sum(x <= math.log(k) for x, _ in curve)
    if not 0 < after < len(curve):
        return math.nan
    (a, low), (b, high) = curve[after - 1 : after + 1]
    return low + (high - low) * (math.log(k) - a) / (b - a)
