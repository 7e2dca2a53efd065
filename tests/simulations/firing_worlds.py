"""Two corpora of documents in which features fire at known rates, equal or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autointerp.studies.search.rate_changes import rate_changes
from sae.studies.firing_rates import FiringSums

Floats = NDArray[np.float64]
TOPICS = 12


class Corpora(NamedTuple):
    """`known` and `new` documents of 50 to 400 tokens, and `features` features with mean rates from `rates`, decades.

    A feature fires in a `share` of the documents alone, and there by very different rates: those of a gamma distribution of shape `shape`,
    the smaller the more different. With `topical`, a document has a topic, and the features of a topic fire in its documents alone, all
    together. The first `changed` features fire `times` as often in the new documents.
    """

    known: int
    new: int
    features: int = 200
    rates: tuple[float, float] = (-2.5, -1.0)
    share: float = 0.3
    shape: float = 0.5
    topical: bool = False
    changed: int = 0
    times: float = 3.0


class Calls(NamedTuple):
    """Means over runs: whether a feature that did not change is called, the share of such among those called (0 without any), the share of
    the changed ones that are called, and the share of features that are tested."""

    any_false: float
    false_share: float
    power: float
    tested: float


def calls(world: Corpora, *, runs: int, seed: int, fdr: float = 0.05) -> Calls:
    """What is called changed in corpora that are drawn anew in each run."""
    rng = np.random.default_rng(seed)
    of_runs = np.array([_called(rng, world, fdr) for _ in range(runs)])
    any_false, false_share, power, tested = of_runs.mean(axis=0)
    return Calls(float(any_false), float(false_share), float(power), float(tested))


def _called(rng: np.random.Generator, world: Corpora, fdr: float) -> tuple[float, float, float, float]:
    mean = 10 ** rng.uniform(*world.rates, world.features)
    new_mean = mean * np.where(np.arange(world.features) < world.changed, world.times, 1.0)
    topic = rng.integers(0, TOPICS, world.features)
    table = rate_changes(
        sums(rng, world, world.known, mean, topic),
        sums(rng, world, world.new, new_mean, topic),
        fdr=fdr,
        confidence=0.95,
    )
    called = table["changed"].to_numpy()
    false = int(called[world.changed :].sum())
    power = float(called[: world.changed].mean()) if world.changed else np.nan
    return float(false > 0), false / max(1, int(called.sum())), power, float(table["p"].notna().mean())


def sums(
    rng: np.random.Generator, world: Corpora, documents: int, mean: Floats, topic: NDArray[np.int64]
) -> FiringSums:
    """The sums over drawn documents."""
    lengths = rng.integers(50, 400, documents).astype(float)
    shape = (documents, world.features)
    if world.topical:
        fires = (rng.integers(0, TOPICS, documents)[:, None] == topic) | (rng.random(shape) < 0.02)
    else:
        fires = rng.random(shape) < world.share
    rates = fires * rng.gamma(world.shape, 1 / world.shape, shape) * mean
    counts = np.minimum(rng.poisson(rates * lengths[:, None]), lengths[:, None])
    return FiringSums(
        counts.sum(axis=0), (counts**2).sum(axis=0), lengths @ counts, (counts > 0).sum(axis=0).astype(float),
        documents, int(lengths.sum()), float((lengths**2).sum()),
    )  # fmt: skip
