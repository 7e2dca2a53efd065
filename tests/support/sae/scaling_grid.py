"""Losses that follow known scaling laws."""

from __future__ import annotations

import math

from sae.training.scaling_laws import Cell

FEATURES = [1024 * 2**n for n in range(6)]
TOKENS = [2_000_000 * 2**n for n in range(6)]
RATES = [1e-4 * 2**n for n in range(8)]
WIDTH, BATCH = 64, 2048


def planted(features: list[int], tokens: list[int], rates: list[float], a: float = 0.35, b: float = 0.25) -> list[Cell]:
    """Losses `(F/1000)^-a + (T/10^6)^-b`, worsened by a parabola around the learning rate 0.002 * (C / 10^15) ** -0.1."""
    cells = []
    for f in features:
        for t in tokens:
            for lr in rates:
                compute = 12.0 * WIDTH * f * t
                off = math.log(lr / (0.002 * (compute / 1e15) ** -0.1))
                loss = ((f / 1000) ** -a + (t / 1e6) ** -b) * math.exp(0.05 * off**2)
                cells.append(Cell(f"{f}-{t}-{lr}", f, t, t // BATCH, lr, compute, loss, 32, 1 - loss / 9, 0))
    return cells
