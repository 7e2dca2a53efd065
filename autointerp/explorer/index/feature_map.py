"""The map of an index: features in the plane, near each other if they are alike, and clusters of them with names.

Two features are alike if their decoder vectors are among each other's nearest or if they are active at the same tokens, as
`units.parquet` says. The map needs nothing but the index.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.cluster.vq import kmeans, vq

from autointerp.explorer.index.cluster_names import names_of
from autointerp.explorer.index.folder import MAP, UNITS, IndexFolder
from autointerp.explorer.index.schema import MOST_ON_MAP, NEIGHBOURS, Cluster
from sae.explorer.plane import Plane, layout

_FEWEST = 10
_MEAN_SIZE, _MOST_CLUSTERS = 32, 200
_LEAVES, _PRECISION = 1000, 0.05
"""Small groups that are joined to clusters, where there are more points, and by how much the mean distance to their centres may still fall."""

Report = Callable[[int, int], None]


def write(folder: IndexFolder, report: Report | None = None) -> None:
    """Write the map of an index's features, unless they are too few or too many, or nothing is known of which are alike."""
    n = folder.about.n_features
    if not _FEWEST <= n <= MOST_ON_MAP:
        return
    neighbours = _neighbours(folder, n)
    if (neighbours < 0).all():
        return
    at = layout(neighbours, seed=0, report=report)
    cluster_of = _clusters(at)
    columns = {"row": np.arange(n), "x": at[:, 0], "y": at[:, 1], "cluster": cluster_of}
    named = names_of(folder, cluster_of)
    folder.write_clusters([_cluster(number, named[number], at[cluster_of == number]) for number in range(len(named))])
    folder.write_table(MAP, pa.table({name: pa.array(column) for name, column in columns.items()}))


def _neighbours(folder: IndexFolder, n: int) -> NDArray[np.int64]:
    """The rows (n, 20) of the features that are like each, -1 where there are fewer."""
    table = folder.table(UNITS, ["nearest", "together"]).slice(0, n)
    return np.hstack([_rows(table[name].combine_chunks(), n) for name in table.column_names])


def _rows(lists: pa.ListArray, n: int) -> NDArray[np.int64]:
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    places = np.arange(NEIGHBOURS) < counts[:, None]
    rows = np.full((n, NEIGHBOURS), -1, dtype=np.int64)
    rows[places] = pc.struct_field(lists.flatten(), "row").to_numpy()
    return rows


def _clusters(at: Plane) -> NDArray[np.int64]:
    """The cluster of each point, numbered from 0: groups whose union raises the distances to their mean least (Ward's method)."""
    centres, leaf_of = at.astype(np.float64), np.arange(len(at))
    if len(at) > _LEAVES:
        centres, _ = kmeans(centres, _LEAVES, iter=1, thresh=_PRECISION, rng=np.random.default_rng(0))
        leaf_of, _ = vq(at.astype(np.float64), centres)
    n = int(np.clip(len(at) // _MEAN_SIZE, 2, min(_MOST_CLUSTERS, len(centres))))
    of: NDArray[np.int64] = cut_tree(linkage(centres, "ward"), n)[leaf_of, 0].astype(np.int64)
    return of


def _cluster(number: int, name: str, at: Plane) -> Cluster:
    x, y = at.mean(axis=0).tolist()
    return Cluster(cluster=number, name=name, size=len(at), x=x, y=y)
