"""The map of an index: features by their decoder directions in the plane, and clusters of them with names.

As the study `neighbours` does it: UMAP if `umap-learn` is installed, else the plane of the first two principal components; clusters by
Ward's method. A cluster is named by words that set its features apart: those of their explanations, or of the tokens at which features
without one are most active.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from autointerp.explorer.index.folder import EXAMPLES, LABELS, MAP, IndexFolder
from autointerp.explorer.index.schema import Cluster
from autointerp.studies.neighbours.hierarchy import sizes_for
from autointerp.studies.neighbours.layout import coordinates
from autointerp.studies.neighbours.naming import distinctive_words, word_counts
from sae.dictionary import Dictionary
from sae.studies.direction_tree import nested_groups
from sae.studies.nearest_directions import Directions

MOST_FEATURES = 1 << 17
"""A dictionary with more features has no map: all directions would have to be in memory at once."""
MOST_UMAP = 1 << 15
"""UMAP lays out as many features in minutes."""
_FEWEST = 5


def write(folder: IndexFolder, dictionary: Dictionary) -> None:
    """Write the map of a dictionary's features, if they have directions and are not too few or too many."""
    n = dictionary.d_sae
    if dictionary.W_dec.ndim != 2 or not 2 * _FEWEST <= n <= MOST_FEATURES:
        return
    rows = Directions.of([dictionary], torch.device("cpu")).rows(torch.arange(n))
    way = "umap" if n <= MOST_UMAP and find_spec("umap") else "pca"
    at = coordinates(rows, way, seed=0)
    [cluster_of] = nested_groups(rows, sizes_for(n, _FEWEST)[:1], seed=0)
    columns = {"row": np.arange(n), "x": at[:, 0], "y": at[:, 1], "cluster": cluster_of}
    folder.write_table(MAP, pa.table({name: pa.array(column) for name, column in columns.items()}))
    folder.write_clusters(_clusters(folder, cluster_of, at))


def _clusters(folder: IndexFolder, cluster_of: np.ndarray, at: np.ndarray) -> list[Cluster]:
    texts = _texts(folder, len(at))
    overall = word_counts(texts)
    clusters = []
    for number in np.unique(cluster_of).tolist():
        members = np.flatnonzero(cluster_of == number)
        x, y = at[members].mean(axis=0).tolist()
        name = distinctive_words(word_counts([texts[i] for i in members]), overall)
        clusters.append(Cluster(cluster=number, name=name or f"cluster {number}", size=len(members), x=x, y=y))
    return clusters


def _texts(folder: IndexFolder, n: int) -> list[str]:
    """The explanation of each feature, or the tokens marked in its strongest examples."""
    texts = [""] * n
    for row, token in _marked(folder):
        if row < n:
            texts[row] += f" {token}"
    for label in folder.table(LABELS, ["row", "explanation"]).to_pylist():
        if label["row"] < n and label["explanation"]:
            texts[label["row"]] = label["explanation"]
    return texts


def _marked(folder: IndexFolder) -> Iterator[tuple[int, str]]:
    """The row and the marked token of each strongest example."""
    with pq.ParquetFile(folder.path / EXAMPLES) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=["row", "bin", "mark", "tokens"])
            table = table.filter(pc.equal(table["bin"], 0))
            for tokens, mark, row in zip(
                table["tokens"].chunks, table["mark"].chunks, table["row"].chunks, strict=True
            ):
                at = tokens.offsets.to_numpy()[:-1] + mark.to_numpy()
                yield from zip(row.to_pylist(), tokens.values.take(pa.array(at)).to_pylist(), strict=True)
