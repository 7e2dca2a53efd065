"""An open index: searches answered from memory, units and examples read from its files when they are shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import LABELS, UNITS, IndexFolder
from autointerp.explorer.index.marked import MARKED, of_index
from autointerp.explorer.index.schema import HISTOGRAM_PARTS
from autointerp.explorer.search.background import Background
from autointerp.explorer.search.columns import KINDS, KNOWN, Columns, ascending
from autointerp.explorer.search.meaning import Meanings
from autointerp.explorer.search.places import Places
from autointerp.explorer.search.query import MATCH, Firing, Query
from autointerp.explorer.search.texts import Texts, words_in
from autointerp.formatting import four_digits
from autointerp.judges.embedded.word_vectors import lexicon
from autointerp.spec.providers import is_baseline

Rows = NDArray[np.int64]
_ROWS_AT_ONCE = 65_536
_SPARK_PARTS = 20
"""Bars of the small histogram in a list."""
_SPARK_LEVELS, _LEAST_LOG = 100, 1e-9
_REMEMBERED = 16
"""Searches whose rows are remembered: 8 bytes for each unit found."""
_MARKED_WEIGHT, _PROMOTED_WEIGHT = 0.75, 0.5
"""The score of a word among the marked or promoted tokens, as against 1 to 3 in the explanation."""
_SHOWN_TOKENS = 4
MOST_EXAMPLES_READ = 100_000
"""Largest index of an earlier version whose examples are read for the tokens at which units are strongest."""
_SNIPPET = (14, 8)
"""Tokens of the strongest example that a list shows before and after the mark."""
_GROUPS_REMEMBERED = 256


class Reader:
    """An index. Threads may share it; the parts that need a pass over all units are read in the background, in the order of their use."""

    def __init__(self, folder: IndexFolder, before: Reader | None = None) -> None:
        """`before` is a reader of the same index with other labels, whose other parts are used again."""
        self.folder, self.about = folder, folder.about
        self._files = threading.Lock()
        self._background = background = Background()
        self._columns = background.add(lambda: Columns(folder))
        self._sparks: Future[NDArray[np.uint8]] = before._sparks if before else background.add(self._read_sparks)
        self._promoted: Future[Texts] = before._promoted if before else background.add(self._read_promoted)
        self._marked: Future[Texts] = before._marked if before else background.add(self._read_marked)
        self._explanations = background.add(lambda: Texts.of(self.columns.labels["explanation"]))
        self._meanings = background.add(lambda: Meanings(self._explanations.result(), lexicon()))
        background.start()
        self.find = lru_cache(maxsize=_REMEMBERED)(self._find)
        self._strongest = lru_cache(maxsize=_GROUPS_REMEMBERED)(self._read_strongest)

    def close(self) -> None:
        """Stop reading in the background."""
        self._background.stop()

    @cached_property
    def baselines(self) -> list[str]:
        """Those explainers and judges of the labels that are not language models, by name."""
        labels = self.folder.table(LABELS, ["judge", "explainer"])
        named = {name for column in labels.columns for name in pc.unique(column).to_pylist()}
        return sorted(name for name in named if name and is_baseline(name))

    @property
    def columns(self) -> Columns:
        """The columns that are searched and sorted."""
        return self._columns.result()

    @property
    def explanations(self) -> Texts:
        """The words of all explanations, in the order of the labels."""
        return self._explanations.result()

    @property
    def promoted(self) -> Texts:
        """The tokens that each unit promotes."""
        return self._promoted.result()

    @property
    def marked(self) -> Texts:
        """The tokens at which each unit is strongest."""
        return self._marked.result()

    @property
    def meanings(self) -> Meanings:
        """The meanings of all explanations. Raises `UsageError` if the word vectors cannot be read."""
        return self._meanings.result()

    @cached_property
    def places(self) -> Places:
        """The map."""
        return Places(self.folder, lambda: self.columns)

    def _find(self, query: Query, firing: Firing | None = None) -> Rows:
        """The rows of the units that a query finds, in its order; `firing` are those that fire on its text.

        Raises `UsageError` for a text without words.
        """
        columns = self.columns
        kept = np.ones(len(columns), dtype=bool)
        if query.kind:
            kept &= columns.kind == KINDS.index(query.kind)
        if query.explained is not None:
            kept &= columns.explained == query.explained
        if query.rows:
            among = np.zeros(len(columns), dtype=bool)
            for first, last in query.rows:
                among[first : last + 1] = True
            kept &= among
        for name, low, high in query.ranges:
            values = columns.numbers[name]
            kept &= (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
        score = np.zeros(len(columns), dtype=np.float32)
        for text, fits in ((query.words, self._fits_words), (query.meaning, self._fits_meaning)):
            if text:
                found, own = fits(text)
                kept &= found
                score += own
        if query.fires and firing is None:
            raise UsageError(
                "units that fire on a text are found on the page of the search alone: search by words or by meaning"
            )
        if firing is not None:
            fires = np.zeros(len(columns), dtype=bool)
            fires[firing.rows] = True
            kept &= fires
            score[firing.rows] += firing.shares
        if query.sort == MATCH:
            rows = np.flatnonzero(kept)
            return ascending(-score[rows], rows)
        order = columns.order(query.sort, query.descending)
        ordered: Rows = order[kept[order]]
        return ordered

    def _fits_words(self, text: str) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The units with every word of a text, or with words that begin so, in an explanation or among the marked or promoted tokens.

        The score of a word is highest where it stands whole in a short explanation, and lowest among the promoted tokens.
        """
        words = words_in(text)
        if not words:
            raise UsageError(f"{text[:40]!r} has no word to search for: give one")
        columns, texts = self.columns, self.explanations
        rows = columns.explained_rows
        places = columns.label[rows]
        lengths = np.maximum(texts.lengths, 1)[places]
        kept, score = np.ones(len(columns), dtype=bool), np.zeros(len(columns), dtype=np.float32)
        for word in words:
            own = np.zeros(len(columns), dtype=np.float32)
            for tokens, weight in self._token_lists():
                own[tokens.with_word(word)[0] > 0] = weight
            begins, whole = (counts[places] > 0 for counts in texts.with_word(word))
            own[rows] = np.maximum(own[rows], begins * (1 + whole + 1 / lengths))
            kept &= own > 0
            score += own
        return kept, score

    def _token_lists(self) -> Iterator[tuple[Texts, float]]:
        """The lists of tokens in which words are found, and what a word among them is worth, the least first."""
        yield self.promoted, _PROMOTED_WEIGHT
        yield self.marked, _MARKED_WEIGHT

    def _fits_meaning(self, text: str) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The units with an explanation, and how similar it is to a text."""
        columns = self.columns
        similarity = self.meanings.similarity(text)
        if similarity is None:
            raise UsageError(f"{text[:40]!r} has no word whose meaning is known: give one")
        score = np.zeros(len(columns), dtype=np.float32)
        score[columns.explained_rows] = similarity[columns.label[columns.explained_rows]]
        return columns.explained, score

    def cards(self, rows: Rows) -> list[dict[str, Any]]:
        """What a list shows of each unit, from memory."""
        columns, sparks = self.columns, self._sparks.result()
        return [
            {
                **self.name(int(row)),
                "density": four_digits(columns.numbers["density"][row]),
                "maximum": four_digits(columns.numbers["maximum"][row]),
                **{name: four_digits(columns.numbers[name][row]) for name in KNOWN},
                "spark": sparks[row].tolist(),
            }
            for row in rows
        ]

    def name(self, row: int) -> dict[str, Any]:
        """A unit's row, id, kind, explanation and grade, and without an explanation the tokens that it is strongest at and those that it
        promotes."""
        columns = self.columns
        tokens = (
            {}
            if columns.explained[row]
            else {
                "marked": self.marked.tokens_of(row, _SHOWN_TOKENS),
                "promoted": self.promoted.tokens_of(row, _SHOWN_TOKENS),
            }
        )
        return {
            **tokens,
            "row": row,
            "unit_id": columns.unit_ids[row].as_py(),
            "kind": KINDS[columns.kind[row]],
            "explanation": columns.explanation(row),
            "grade": four_digits(columns.numbers["grade"][row]),
        }

    def strongest(self, row: int) -> dict[str, Any] | None:
        """The tokens around the mark of a unit's strongest example, or None if it has none."""
        group = self.folder.group_of(row)
        return None if group is None else self._strongest(group).get(row)

    def unit(self, row: int) -> dict[str, Any]:
        """Everything about a unit: its row of `units.parquet` with its neighbours' names, its labels, and its examples in their order."""
        with self._files:
            unit, examples = self.folder.unit(row), self.folder.examples(row)
        n = len(self.columns)
        for column in ("nearest", "together"):
            unit[column] = [
                {**entry, **self.name(entry["row"])} for entry in unit[column] or [] if 0 <= entry["row"] < n
            ]
        labels = [{**label, "from": self._unit_id(label.get("from_row"))} for label in self.columns.labels_of(row)]
        return {**unit, "labels": labels, "examples": examples}

    def _unit_id(self, row: Any) -> str | None:
        """The id of the unit in a row; None without one."""
        known = row is not None and 0 <= row < len(self.columns)
        return str(self.columns.unit_ids[row].as_py()) if known else None

    def _read_strongest(self, group: int) -> dict[int, dict[str, Any]]:
        columns = ["row", "bin", "rank", "mark", "tokens", "activations"]
        with self._files:
            table = self.folder.group(group, columns)
        first = pc.and_(pc.equal(table["bin"], 0), pc.equal(table["rank"], 0))
        return {example["row"]: _snippet(example) for example in table.filter(first).to_pylist()}

    def _read_sparks(self) -> NDArray[np.uint8]:
        """The histogram of each unit in fewer parts (n_units, 20), as the logarithm of the events in hundredths of its largest."""
        parts = []
        for batch in self._batches("histogram"):
            counts = batch.flatten().to_numpy().reshape(-1, HISTOGRAM_PARTS)
            logs = np.log1p(counts.reshape(len(counts), _SPARK_PARTS, -1).sum(axis=2))
            parts.append(
                (_SPARK_LEVELS * logs / np.maximum(logs.max(axis=1, keepdims=True), _LEAST_LOG)).round().astype("u1")
            )
        return np.concatenate(parts) if parts else np.zeros((0, _SPARK_PARTS), dtype=np.uint8)

    def _read_promoted(self) -> Texts:
        """The promoted tokens of each unit, the most promoted first."""
        return Texts.of_lists(
            (pc.struct_field(batch.flatten(), "token"), pc.list_value_length(batch))
            for batch in self._batches("promoted")
        )

    def _read_marked(self) -> Texts:
        """The tokens at which each unit is strongest, the most frequent first. An earlier version did not write them: then they are read off
        the examples, unless these are very many."""
        if self.folder.is_current(UNITS):
            lists = self._batches(MARKED)
        elif len(self.columns) <= MOST_EXAMPLES_READ:
            lists = of_index(IndexFolder(self.folder.path))  # files of its own, which no other thread reads
        else:
            lists = iter([pa.nulls(len(self.columns), pa.list_(pa.string()))])
        return Texts.of_lists((batch.flatten(), pc.list_value_length(batch)) for batch in lists)

    def _batches(self, column: str) -> Iterator[pa.Array]:
        """A column of `units.parquet` in parts, which no other thread reads meanwhile."""
        for batch in pq.ParquetFile(self.folder.path / UNITS).iter_batches(_ROWS_AT_ONCE, columns=[column]):
            yield batch.column(0)


def _snippet(example: dict[str, Any]) -> dict[str, Any]:
    """The tokens around the mark, their activations, and the place of the mark among them."""
    mark, (before, after) = int(example["mark"]), _SNIPPET
    first, last = max(0, mark - before), mark + after + 1
    activations = [four_digits(value) for value in example["activations"][first:last]]
    return {"tokens": example["tokens"][first:last], "activations": activations, "mark": mark - first}
