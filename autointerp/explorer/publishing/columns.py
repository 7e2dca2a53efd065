"""The columns and words of an index as files, from which a browser finds what the server finds: `static/published_index.js` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.explorer.publishing import meaning
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json, packed_numbers, smallest
from autointerp.explorer.search.columns import NUMBERS
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.search.texts import Texts

ROW = "row"
"""The column that a browser can count itself."""


def write(folder: PublishedFolder, at: str, reader: Reader) -> dict[str, Any]:
    """Write the files below `at`, and return what `about.json` says of them."""
    columns = reader.columns
    folder.put(f"{at}ids.json.gz", packed_json(columns.unit_ids.to_pylist()))
    arrays: dict[str, NDArray[Any]] = {name: _narrow(columns.numbers[name]) for name in NUMBERS if name != ROW}
    arrays |= {"kind": columns.kind, "explained": columns.explained.astype(np.uint8)}
    kinds = {ROW: ROW} | {name: _put(folder, f"{at}columns/{name}.gz", array) for name, array in arrays.items()}
    texts = {name: _texts(folder, f"{at}texts/{name}", *some) for name, some in _all_texts(reader).items()}
    described = {name: kinds for name, (kinds, _) in texts.items()}
    has_meaning = meaning.write(folder, at, reader, texts["explanations"][1])
    return {"columns": kinds, "texts": described, "sortable": list(NUMBERS), "meaning": has_meaning}


def _all_texts(reader: Reader) -> dict[str, tuple[Texts, NDArray[np.int64] | None]]:
    """The texts in which words are found, and which of them: explanations only of the leading labels, in the order of their units."""
    leading = reader.columns.label[reader.columns.explained_rows]
    return {
        "explanations": (reader.explanations, leading),
        "promoted": (reader.promoted, None),
        "marked": (reader.marked, None),
    }


def _texts(
    folder: PublishedFolder, path: str, texts: Texts, rows: NDArray[np.int64] | None
) -> tuple[dict[str, str], list[str]]:
    """Write texts as numbered words. Returns the kinds of the numbers, and the words."""
    counts = texts.counts if rows is None else texts.counts[rows]
    known = pc.utf8_lower(pc.utf8_trim_whitespace(texts.vocabulary))
    encoded = known.take(counts.indices).dictionary_encode()
    vocabulary = encoded.dictionary.to_pylist()
    folder.put(f"{path}.json.gz", packed_json(vocabulary))
    places = encoded.indices.to_numpy(zero_copy_only=False)
    lengths = _put(folder, f"{path}.lengths.gz", smallest(np.diff(counts.indptr)))
    return {"lengths": lengths, "words": _put(folder, f"{path}.words.gz", smallest(places))}, vocabulary


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers that fit into 32 bits are written so."""
    whole = values.dtype == np.float64 and np.all(np.abs(values) < np.iinfo(np.int32).max)
    return values.astype(np.int32) if whole else values


def _put(folder: PublishedFolder, name: str, values: NDArray[Any]) -> str:
    data, kind = packed_numbers(values)
    folder.put(name, data)
    return kind
