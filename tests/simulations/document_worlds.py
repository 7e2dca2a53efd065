"""Simulated grades of items that share documents, as items of rare and bursty units do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from simulations import worlds


class Documents(NamedTuple):
    """How items lie in documents: of each unit `number`, of sizes with a heavy tail if `bursty`, whose items' latents are correlated."""

    number: int
    correlation: float
    bursty: bool = False
    per_bin: bool = False
    """Whether a document's items are alike within a bin only."""


OWN = Documents(1000, 0.0)
"""Nearly every item is from a document of its own."""


def draw(
    rng: np.random.Generator, world: worlds.World, units: int, bins: int, items: int, documents: Documents
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """As `worlds.draw`, with the document of each item. A bin takes its items from different documents as long as it has any.

    With bursty documents the bin takes them as they come, so that most are from a few.
    """
    place = rng.normal(world.level, world.between, units)[:, None] + worlds.lift(bins)
    truth = special.ndtr((place[..., None] - worlds.THRESHOLDS) / world.within).sum(axis=-1)
    n = documents.number
    if documents.bursty:
        sizes = rng.pareto(1.0, (units, n)) + 0.1
        cumulative = (sizes / sizes.sum(axis=1, keepdims=True)).cumsum(axis=1)
        chance = rng.random((units, bins, items))
        document = (chance[..., None] > cumulative[:, None, None, :-1]).sum(axis=-1)
    else:
        turns = -(-items // n)
        document = rng.random((units, bins, turns, n)).argsort(axis=-1).reshape(units, bins, -1)[..., :items]
    effects = rng.normal(size=(units, bins if documents.per_bin else 1, n))
    shared = np.take_along_axis(np.broadcast_to(effects, (units, bins, n)), document, axis=2)
    own = rng.normal(size=document.shape)
    rho = documents.correlation
    latent = place[..., None] + world.within * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
    return (latent[..., None] > worlds.THRESHOLDS).sum(axis=-1), truth, document
