"""Categories of texts and features of which the ones that respond to the category are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.studies.categories.discoveries import compared, discovered

Floats = NDArray[np.float64]
TOPICS = 6


class Category(NamedTuple):
    """`features` features over `texts` probes and as many controls; the first `true` are more active on probes, by `shift`.

    An activation is what remains above 0 of a sum: noise, what the text is about (a share `shared` of the variance, so that features go
    together), and a threshold, so that features fire in few texts or in most. With `matched`, a probe and its control are about the same.
    """

    features: int = 300
    texts: int = 12
    true: int = 0
    shift: float = 3.0
    shared: float = 0.5
    matched: bool = False


class Discoveries(NamedTuple):
    """Means over runs: the share of false ones among the features found (0 without any), whether any false one is found, and the share of
    the true ones that are found."""

    false_share: float
    any_false: float
    power: float


def discoveries(world: Category, *, runs: int, seed: int, fdr: float = 0.05) -> Discoveries:
    """What is found in categories drawn anew in each run. All runs are tested together."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([_maxima(rng, world) for _ in range(runs)], axis=1)
    table = compared(values[: world.texts], values[world.texts :])
    run = pd.Series(table["feature"] // world.features, name="run")
    found = discovered(table.assign(category=run.astype(str)), fdr)
    is_false = found["feature"] % world.features >= world.true
    by_run = is_false.groupby(found["category"]).agg(["mean", "sum", "size"])
    hits = float((by_run["size"] - by_run["sum"]).sum())
    return Discoveries(
        float(by_run["mean"].sum() / runs),
        float((by_run["sum"] > 0).sum() / runs),
        hits / (runs * world.true) if world.true else float("nan"),
    )


def _maxima(rng: np.random.Generator, world: Category) -> Floats:
    """Activations (probes, then controls; features)."""
    subjects = rng.normal(size=(world.texts if world.matched else 2 * world.texts, TOPICS))
    about = np.tile(subjects, (2, 1)) if world.matched else subjects
    weights = rng.normal(size=(TOPICS, world.features)) * np.sqrt(world.shared / TOPICS)
    noise = rng.normal(size=(2 * world.texts, world.features)) * np.sqrt(1 - world.shared)
    values = about @ weights + noise - rng.uniform(-1, 1.5, world.features)
    values[: world.texts, : world.true] += world.shift
    return np.maximum(values, 0.0)
