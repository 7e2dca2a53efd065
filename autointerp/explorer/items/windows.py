"""The texts that a run's judge was shown windows of: the exemplars in the run's folder, or before it is finished those of its harvest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

_COLUMNS = ["exemplar_id", "mark", "tokens", "activation", "activation_fraction", "bin", "document", "position"]
_BEFORE, _AFTER = 12, 24
"""Tokens of a list's snippet before and after the mark."""


class Windows:
    """Exemplars by id. `of` is empty if no file has them."""

    def __init__(self, files: Sequence[Path]) -> None:
        tables = [pq.read_table(path, columns=_COLUMNS) for path in files]
        self._table = pa.concat_tables(tables, promote_options="permissive") if tables else None
        ids = self._table["exemplar_id"].to_pylist() if self._table is not None else []
        self._rows = {exemplar_id: row for row, exemplar_id in enumerate(ids)}
        self._texts: pa.ChunkedArray | None = None

    @classmethod
    def of_run(cls, folder: Path, harvest: Path | None) -> Windows:
        """The exemplars of a run's folder, else of its harvest with its controls."""
        if (folder / "exemplars.parquet").is_file():
            return cls([folder / "exemplars.parquet"])
        if harvest is None or not harvest.is_dir():
            return cls([])
        return cls(
            sorted([*harvest.glob("exemplars.parquet"), *harvest.glob("*-exemplars.parquet"), *harvest.glob("neighbours-*-windows.parquet")])
        )  # fmt: skip

    def get(self, exemplar_id: str) -> dict[str, Any] | None:
        """An exemplar's tokens, mark, activation and place; None if it is unknown."""
        row = self._rows.get(exemplar_id)
        return None if row is None or self._table is None else dict(self._table.slice(row, 1).to_pylist()[0])

    def snippet(self, exemplar_id: str) -> dict[str, Any] | None:
        """The marked token with those around it; None for an unknown exemplar."""
        row = self.get(exemplar_id)
        if row is None:
            return None
        first = max(0, row["mark"] - _BEFORE)
        return {"tokens": row["tokens"][first : row["mark"] + _AFTER + 1], "mark": row["mark"] - first}

    def with_word(self, exemplar_ids: Iterable[str], word: str) -> NDArray[np.bool_]:
        """Which of the exemplars have a word in their text, upper and lower case alike; one False for all if no file has them."""
        if self._table is None:
            return np.zeros(1, dtype=bool)
        if self._texts is None:
            self._texts = pc.binary_join(self._table["tokens"], "")
        has = pc.match_substring(self._texts, word, ignore_case=True).to_numpy(zero_copy_only=False).astype(bool)
        rows = np.array([self._rows.get(each, -1) for each in exemplar_ids], dtype=np.int64)
        return np.asarray(np.append(has, False)[rows])
