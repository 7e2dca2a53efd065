"""Where features lie on a map: by UMAP if it is installed, or in the plane of their first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import UsageError
from autointerp.formatting import count, percent
from autointerp.studies.neighbours.features import Features
from sae.studies.direction_tree import principal_plane

MOST_POINTS = 3000
WAYS = ("pca", "umap", "none")


@dataclass(frozen=True)
class Layout:
    """Features with their coordinates (n, 2), and what a reader has to know about the map."""

    numbers: NDArray[np.int64]
    at: NDArray[np.float32]
    statement: str


def check(way: str) -> None:
    """Raise `UsageError` if the map cannot be made in this way."""
    if way not in WAYS:
        raise UsageError(f"--map {way!r} is unknown: write {', '.join(WAYS)}")
    if way == "umap":
        _umap()


def layout(features: Features, way: str, always: Sequence[int], seed: int) -> Layout:
    """Lay out a random sample of the features, and those in `always`. Raises `UsageError` if umap-learn is not installed."""
    n = len(features.directions)
    numbers = np.arange(n)
    if n > MOST_POINTS:
        sample = np.random.default_rng([seed, 23]).choice(n, MOST_POINTS, replace=False)
        numbers = np.union1d(sample, np.array(always, dtype=np.int64))
    of = (
        f"{count(len(numbers))} of {count(n)} features, a random sample"
        if n > MOST_POINTS
        else f"all {count(n)} features"
    )
    rows = features.directions.rows(torch.from_numpy(numbers))
    if way == "umap":
        at = coordinates(rows, way, seed)
        how = "UMAP of their directions by cosine. Distances between far groups mean little"
    else:
        at, share = principal_plane(rows)
        how = (
            f"The first two principal components (PCA) of their directions, which carry {percent(share)} of the variance:"
            " features that are close here need not be close in the model, as the list of neighbours says"
        )
    return Layout(numbers.astype(np.int64), at, f"Map of {of}. {how}.")


def coordinates(rows: Tensor, way: str, seed: int) -> NDArray[np.float32]:
    """Coordinates (n, 2) of unit vectors `rows` (n, width), by `pca` or `umap`."""
    if way == "umap":
        at = _umap().UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(rows.cpu().numpy())
        return np.asarray(at, dtype=np.float32)
    return principal_plane(rows)[0]


def _umap() -> Any:
    try:
        return import_module("umap")
    except ImportError:
        raise UsageError(
            "--map umap needs umap-learn: pip install 'autointerp-eval[map]', or choose --map pca"
        ) from None
