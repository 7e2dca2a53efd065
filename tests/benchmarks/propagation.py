"""Measures propagated explanations on planted dictionaries of which the right ones are known, and the time for 100,000 features.

    python tests/benchmarks/propagation.py            # 4,096 features, 40 labelled, 10 seeds, in four worlds
    python tests/benchmarks/propagation.py --time     # an index of 100,000 features, 1,000 labelled, from its files to probabilities

Seeds 0 to 9 are for these figures. Weights that are known beforehand were chosen on seeds 100 to 104.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import explorer_index, label_world
from support.label_world import World, calibration_error, oracle

from autointerp.explorer.propagation import checks, choice, curve, index_evidence
from autointerp.explorer.propagation.choice import Choice
from autointerp.explorer.propagation.evidence import Comparison

SEEDS, LABELLED = range(10), 40
WORLDS: dict[str, tuple[dict[str, float], float]] = {
    "100 families": ({}, 0.0),
    "160 families, flatter": ({"families": 160, "zipf": 1.1}, 0.0),
    "400 small families": ({"families": 400, "zipf": 0.7}, 0.0),
    "noisier directions": ({"noise": 1.6}, 0.0),
    "judge wrong in 5%": ({}, 0.05),
}
"""What differs from the usual world, and the share of wrong answers of the judge."""
COLUMNS = ("possible", "coverage", "precision", "ece", "best coverage")


def measure(world: World, picked: Choice, seed: int, *, rounds: int, wrong: float) -> list[float]:
    """The share of units for which a labelled unit has a right explanation; at the threshold for 90% the coverage and the precision that was
    reached; the calibration error; and the largest coverage at 90% that a threshold could reach."""
    _, rest, decided = checks.fit(
        Comparison(world.evidence, picked.rows),
        picked.by_chance,
        oracle(world, picked.rows, wrong, seed),
        rounds=rounds,
    )
    right = world.right(rest, picked.rows[decided.source])
    probability = decided.probability
    least = curve.least_probability(probability)
    kept = probability >= (np.inf if least is None else least)
    ordered = np.cumsum(right[np.argsort(-probability)]) / np.arange(1, len(rest) + 1)
    best = np.flatnonzero(ordered >= curve.PRECISION)
    return [
        float(world.right(rest[:, None], picked.rows).any(axis=1).mean()),
        float(kept.mean()),
        float(right[kept].mean()) if kept.any() else float("nan"),
        calibration_error(probability, right),
        (best[-1] + 1) / len(rest) if len(best) else 0.0,
    ]


def planted() -> None:
    """Print the table: mean and worst over the seeds."""
    print(f"{'world':24} {'chosen':>9} {'checks':>7}  " + "  ".join(f"{name:>14}" for name in COLUMNS), flush=True)
    for name, (changes, wrong) in WORLDS.items():
        found: dict[tuple[str, int], list[list[float]]] = {}
        for seed in SEEDS:
            world = label_world.make(seed, **changes)  # type: ignore[arg-type]
            none = np.zeros(0, dtype=np.int64)
            for how, pick in (("chance", choice.at_random), ("program", choice.choose)):
                picked = pick(world.evidence, LABELLED, none, seed)
                for rounds in (0, checks.ROUNDS):
                    row = measure(world, picked, seed, rounds=rounds, wrong=wrong)
                    found.setdefault((how, rounds * checks.PER_ROUND), []).append(row)
        for (how, n_checks), rows in found.items():
            of = np.array(rows)
            worst = [of[:, i].max() if c == "ece" else np.nanmin(of[:, i]) for i, c in enumerate(COLUMNS)]
            cells = [f"{m:.3f} ({w:.3f})" for m, w in zip(np.nanmean(of, axis=0), worst, strict=True)]
            print(f"{name:24} {how:>9} {n_checks:>7}  " + "  ".join(f"{cell:>14}" for cell in cells), flush=True)


def timed(n: int, labelled: int) -> None:
    """Print the seconds of each step for an index of `n` features of random text, which is written first, and the largest memory."""
    with tempfile.TemporaryDirectory() as folder:
        index = explorer_index.make(Path(folder) / "index", n_features=n, n_neurons=0, labelled=0, per_bin=0)
        directions = np.random.default_rng(0).normal(size=(n, 768)).astype(np.float32)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()

        def lap(name: str) -> None:
            nonlocal started
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
            started = time.monotonic()

        evidence = index_evidence.read(index, directions, lambda *_: None)
        lap("evidence read")
        picked = choice.choose(evidence, labelled, np.zeros(0, dtype=np.int64))
        lap(f"{labelled:,} units chosen")
        rng = np.random.default_rng(1)
        comparison = Comparison(evidence, picked.rows)
        lap("walks")
        checks.fit(
            comparison, picked.by_chance, lambda units, _: (rng.random(len(units)) < 0.3, np.ones(len(units), bool))
        )
        lap("probabilities fitted and propagated")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"memory: {after / 1e6:.1f} GB at most, {before / 1e6:.1f} GB before")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--labelled", type=int, default=1_000)
    given = parser.parse_args()
    timed(given.features, given.labelled) if given.time else planted()
