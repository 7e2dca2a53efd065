"""A small evaluation of the planted world: its keys for the API and for a spec, and the run that the command line made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.planted_world import world as planted

SETTINGS: dict[str, Any] = {
    "subject.precision": "float32",
    "corpus": {"context_tokens": 64, "max_tokens": 20_000},
    "harvest": {"window_tokens": 16, "bins": 4},
    "explain": {"top": 6, "spread": 4, "quiet": 3},
    "score.per_bin": 3,
    "controls": {"shuffled": 2, "base_rate": 2, "planted": 0, "repeated": 0, "neighbours": 3} | planted.NO_RANDOM,
    "studies.tokens": 0,
    "report.resamples": 200,
}
"""Keys beside the inputs that keep an evaluation small."""
FEATURES, NEURONS = (0, 1, 2, 3, 4, 8), ("0+", "1+", "4+", "5+", "10+", "11+")


@dataclass(frozen=True)
class Evaluated:
    """The planted world, and the folder of its run by the command line."""

    world: planted.World
    run: Path


def small(**more: Any) -> dict[str, Any]:
    """The arguments of a small evaluation."""
    return {"features": FEATURES, "neurons": NEURONS, "spec": SETTINGS, "quiet": True} | more
