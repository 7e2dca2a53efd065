"""The bytes of a published folder's files: the same for the same values."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEVEL = 9


@dataclass(frozen=True)
class Parts:
    """Many entries in files of some each: `static/published_files.js` finds the file of an entry by the same rule."""

    entries: int
    """Of a file."""
    files: int = 256
    """Of a folder."""

    def path(self, row: int) -> str:
        """The file with an entry."""
        group, number = divmod(row // self.entries, self.files)
        return f"{group}/{number}.json.gz"

    def of(self, n: int) -> Iterator[tuple[range, str]]:
        """The rows of each file and its path, for `n` entries."""
        for first in range(0, n, self.entries):
            yield range(first, min(n, first + self.entries)), self.path(first)

    @property
    def described(self) -> dict[str, int]:
        """The parts as data."""
        return {"entries": self.entries, "files": self.files}


def packed_json(value: Any) -> bytes:
    """A value as compressed JSON, with the digits of numbers that a page shows."""
    text = json.dumps(rounded(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return packed(text.encode("utf-8", "replace"))


def packed_numbers(values: NDArray[Any]) -> tuple[bytes, str]:
    """Compressed little-endian numbers, and their kind: `f4`, `u2`, ..."""
    kind = values.dtype.newbyteorder("<")
    return packed(values.astype(kind).tobytes()), f"{kind.kind}{kind.itemsize}"


def packed(data: bytes) -> bytes:
    """Compressed with gzip, without a time."""
    return gzip.compress(data, _LEVEL, mtime=0)


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers from 0 in the narrowest type that holds them all."""
    most = int(values.max()) if len(values) else 0
    return values.astype(np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32)


def rounded(value: Any) -> Any:
    """A value with four digits of every number that is not whole, and null for one that JSON does not have."""
    if isinstance(value, float):
        return 0 if value == 0 else float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value
