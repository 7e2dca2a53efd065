"""Training speed and quality beside dictionary_learning's and sae-lens's own trainers, in one process on the same batches.

Speed: the trainers take turns of so many steps each; a turn's ratio is the peer's time over ours. Quality: variance
explained at equal L0 on mixtures and seeds that chose nothing, as `train_quality` says.

    ./dev bench-train [--part speed|quality] [--architecture NAME ...] [--demo]
    python tests/benchmarks/train.py --peers .venv/peers [--rounds N] [--seeds N] [--d-sae N] [--steps N] ...
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from train_quality import demo, mixtures, study
from trainers import LIBRARIES, mixture, open_peers, served

from sae.training.trainer import Architecture, TrainConfig

SPEED = {"d": 512, "d_sae": 4096, "k": 32, "steps": 36, "batch_tokens": 2048}
QUALITY = {"d": 256, "d_sae": 1024, "k": 16, "steps": 200, "batch_tokens": 256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, required=True, help="folder with a folder for each library: .venv/peers")
    parser.add_argument("--part", action="append", choices=("speed", "quality"), help="both unless said")
    parser.add_argument("--architecture", action="append", choices=get_args(Architecture))
    for name in SPEED:
        said = f"{SPEED[name]} for speed, {QUALITY[name]} for quality"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=said)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each trainer, for speed")
    parser.add_argument("--seeds", type=int, default=3, help="fresh mixtures and seeds, for quality")
    parser.add_argument("--demo", action="store_true", help="quality on activations of the demo's model")
    given = parser.parse_args()
    open_peers(given.peers)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    parts = given.part or ("speed", "quality")
    for part, usual in (("speed", SPEED), ("quality", QUALITY)):
        if part not in parts:
            continue
        n = {name: getattr(given, name) or value for name, value in usual.items()}
        print(f"\n{part}: " + ", ".join(f"{name} {value:,}" for name, value in n.items()), flush=True)
        count = n["steps"] * n["batch_tokens"]
        rows = (demo if given.demo else mixtures)(n["d"], count) if part == "quality" else None
        for architecture in given.architecture or get_args(Architecture):
            config = TrainConfig(
                architecture, n["d_sae"], n["k"], batch_tokens=n["batch_tokens"], tokens=count, lr=1e-3
            )
            if rows is None:
                race(replace(config, dead_tokens=8 * config.batch_tokens), n["d"], given.rounds)
            else:
                study(config, rows, given.seeds)


def race(config: TrainConfig, d: int, rounds: int) -> None:
    """Train all that have this architecture, in turns, and print how fast they were."""
    pool = mixture(16 * config.batch_tokens, d, seed=20_240_401)
    runners = [(name, *make(config, pool[: config.batch_tokens])) for name, make in LIBRARIES.items()]
    batches = served(pool, config.batch_tokens, 0)
    taken: list[dict[str, float]] = []
    for turn in range(rounds):
        took: dict[str, float] = {}
        first, last = (config.steps * r // rounds for r in (turn, turn + 1))
        xs = [next(batches) for _ in range(first, last)]
        for name, step, _ in runners[turn % 3 :] + runners[: turn % 3]:
            began = time.perf_counter()
            for number, x in enumerate(xs, first):
                step(number, x)
            took[name] = (time.perf_counter() - began) / len(xs)
        taken.append(took)
    print(f"\n{config.architecture}")
    for name, *_ in runners:
        pace = statistics.median(took[name] for took in taken)
        ratios = sorted(took[name] / took["ours"] for took in taken)
        print(
            f"  {name:<20} {config.batch_tokens / pace:>8,.0f} tokens/s   ours {statistics.median(ratios):5.2f} times as fast"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
