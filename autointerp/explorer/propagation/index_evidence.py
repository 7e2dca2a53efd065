"""The evidence of the features of an index, from its files and the decoder of its dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import UNITS, IndexFolder
from autointerp.explorer.propagation.evidence import Evidence
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.progress import OnProgress

CONTEXT = 12
"""Tokens on either side of the mark whose words are a context."""
_WORD = r"^[\pL\pM]{3,}$"
_COLUMNS = ("row", "bin", "mark", "tokens", "activations")
Floats = NDArray[np.float32]


def read(folder: IndexFolder, directions: Floats | None, on_read: OnProgress) -> Evidence:
    """The evidence of all features, in the order of their rows. Without `directions` (F, d) the index's lists of near features stand in."""
    n = folder.about.n_features
    marked, contexts, vocabulary = _bags(folder, n, on_read)
    promoted, nearest, together = _lists(folder, n)
    return Evidence.of(
        directions=np.zeros((n, 1), np.float32) if directions is None else directions,
        promoted=promoted,
        marked=marked,
        contexts=contexts,
        meanings=marked @ _vectors(vocabulary),
        nearest=nearest,
        together=together,
        density=folder.table(UNITS, ["density"])["density"].to_numpy()[:n],
    )


@dataclass
class _Vocabulary:
    """Numbers of strings, in the order in which they were first seen, and which of them are words."""

    numbers: dict[str, int] = field(default_factory=dict)
    words: list[bool] = field(default_factory=list)

    def codes(self, strings: pa.Array) -> NDArray[np.int64]:
        """The number of each string, without regard to case and spaces around it."""
        encoded = pc.utf8_lower(pc.utf8_trim_whitespace(strings)).dictionary_encode()
        known, is_word = encoded.dictionary.to_pylist(), pc.match_substring_regex(encoded.dictionary, _WORD).to_pylist()
        for text, word in zip(known, is_word, strict=True):
            if text not in self.numbers:
                self.numbers[text] = len(self.numbers)
                self.words.append(bool(word))
        numbers = np.array([self.numbers[text] for text in known], dtype=np.int64)
        return numbers[encoded.indices.to_numpy()] if len(strings) else np.zeros(0, np.int64)


def _bags(
    folder: IndexFolder, n: int, on_read: OnProgress
) -> tuple[sparse.csr_array, sparse.csr_array, dict[str, int]]:
    """Of each feature's strongest examples: the tokens at which it is active, by the share of its maximum, and the words around them."""
    vocabulary = _Vocabulary()
    parts: list[tuple[sparse.csr_array, sparse.csr_array, int]] = []
    groups = [group for group in folder.about.groups if group[0] < n]
    for done, (first, n_rows, number) in enumerate(groups):
        table = folder.group(number, _COLUMNS)
        parts.append((*_bags_of_group(table, vocabulary, first, min(n_rows, n - first)), first))
        on_read("evidence", done + 1, len(groups))
    width = max(1, len(vocabulary.numbers))
    return _joined(parts, 0, n, width), _joined(parts, 1, n, width), vocabulary.numbers


def _bags_of_group(
    table: pa.Table, vocabulary: _Vocabulary, first: int, n_rows: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    table = table.filter(pc.and_(pc.equal(table["bin"], 0), pc.less(table["row"], first + n_rows))).combine_chunks()
    rows, mark = table["row"].to_numpy() - first, table["mark"].to_numpy()
    lists, values = table["tokens"].combine_chunks(), table["activations"].combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    code, activation = vocabulary.codes(lists.flatten()), values.flatten().to_numpy()
    unit = np.repeat(rows, lengths)
    starts = np.cumsum(lengths) - lengths
    away = np.abs(np.arange(len(code)) - np.repeat(starts + mark, lengths))
    largest = np.zeros(n_rows, dtype=np.float32)
    np.maximum.at(largest, unit, activation)
    active = activation > 0
    near = np.array(vocabulary.words, dtype=bool)[code] & (away <= CONTEXT) & (away > 0)
    shape = (n_rows, len(vocabulary.numbers))
    shares = activation[active] / largest[unit[active]]
    marked = sparse.coo_array((shares.astype(np.float32), (unit[active], code[active])), shape=shape)
    ones = np.ones(int(near.sum()), dtype=np.float32)
    return marked.tocsr(), sparse.coo_array((ones, (unit[near], code[near])), shape=shape).tocsr()


def _joined(
    parts: list[tuple[sparse.csr_array, sparse.csr_array, int]], which: int, n: int, width: int
) -> sparse.csr_array:
    """The bags of all groups in one matrix (n, width); units between groups have none."""
    lengths = np.zeros(n, dtype=np.int64)
    for part in parts:
        bag = part[0] if which == 0 else part[1]
        lengths[part[2] : part[2] + bag.shape[0]] = np.diff(bag.indptr)
    bags = [part[0] if which == 0 else part[1] for part in parts]
    data = np.concatenate([np.zeros(0, np.float32), *(bag.data for bag in bags)])
    indices = np.concatenate([np.zeros(0, np.int32), *(bag.indices for bag in bags)])
    return sparse.csr_array((data, indices, np.concatenate([[0], np.cumsum(lengths)])), shape=(n, width))


def _lists(folder: IndexFolder, n: int) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """Promoted and suppressed tokens (n, V), near features and features that are active together (n, n)."""
    vocabulary, tokens = _Vocabulary(), []
    near: dict[str, list[tuple[Any, Any, Any]]] = {"nearest": [], "together": []}
    with pq.ParquetFile(folder.path / UNITS) as file:
        for first, batch in _first_rows(file, n):
            for sign, column in ((0, "promoted"), (1, "suppressed")):
                unit, entries = _entries(batch.column(column), first)
                code = 2 * vocabulary.codes(entries.field("token")) + sign
                tokens.append((np.abs(entries.field("effect").to_numpy(zero_copy_only=False)), unit, code))
            for column, value in (("nearest", "cosine"), ("together", "share")):
                unit, entries = _entries(batch.column(column), first)
                other = entries.field("row").to_numpy(zero_copy_only=False)
                kept = (other >= 0) & (other < n)
                values = entries.field(value).to_numpy(zero_copy_only=False)
                near[column].append((np.maximum(values[kept], 0), unit[kept], other[kept]))
    promoted = _matrix(tokens, (n, max(2, 2 * len(vocabulary.numbers))))
    return promoted, _matrix(near["nearest"], (n, n)), _matrix(near["together"], (n, n))


def _first_rows(file: pq.ParquetFile, n: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The first `n` rows of `units.parquet` in parts, with the row that each part begins at."""
    first = 0
    for batch in file.iter_batches(schema.UNIT_ROWS, columns=["promoted", "suppressed", "nearest", "together"]):
        if first >= n:
            return
        yield first, batch.slice(0, n - first)
        first += len(batch)


def _entries(column: pa.Array, first: int) -> tuple[NDArray[np.int64], pa.StructArray]:
    """The entries of all lists of a column, and the row of each."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(first, first + len(column)), lengths), column.flatten()


def _matrix(parts: list[tuple[Any, Any, Any]], shape: tuple[int, int]) -> sparse.csr_array:
    values, rows, columns = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return sparse.coo_array((values.astype(np.float32), (rows, columns)), shape=shape).tocsr()


def _vectors(vocabulary: dict[str, int]) -> Floats:
    """The static word vector of each string (V, m), by how rare the word is; 0 for a string without one."""
    known = lexicon()
    vectors = [known.weight(text) * known.word(text) if text else known.word("") for text in vocabulary]
    return np.array(vectors or [known.word("")], dtype=np.float32)
