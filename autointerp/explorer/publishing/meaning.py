"""Word vectors for the search by meaning in a browser: those of the words in explanations, and of the most frequent others."""

from __future__ import annotations

import numpy as np

from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json, packed_numbers
from autointerp.explorer.search.reader import Reader
from autointerp.judges.embedded.word_vectors import lexicon, licence

FREQUENT = 8_000
"""Words beside those of the explanations that a search knows."""
_LARGEST = 127
_LEAST = 1e-12


def write(folder: PublishedFolder, at: str, reader: Reader, vocabulary: list[str]) -> bool:
    """Write the files below `at`, the words of `vocabulary` first. Returns whether there is an explanation that can be found."""
    rows = reader.columns.explained_rows
    if not len(rows):
        return False
    meanings, leading = reader.meanings, reader.columns.label[rows]
    known = set(vocabulary)
    words = [*vocabulary, *(word for word in lexicon().frequent_words(FREQUENT) if word not in known)]
    table = np.array([meanings.word(word) for word in words], dtype=np.float32)
    scales = np.maximum(np.abs(table).max(axis=1), _LEAST) / _LARGEST
    arrays = {
        "vectors": np.round(table / scales[:, None]).astype(np.int8),
        "scales": scales.astype(np.float32),
        "common": meanings.common,
        "lengths": meanings.lengths[leading],
        "rests": meanings.rests[leading],
    }
    folder.put(f"{at}meaning/words.json.gz", packed_json(words))
    for name, values in arrays.items():
        folder.put(f"{at}meaning/{name}.gz", packed_numbers(values)[0])
    folder.put(f"{at}meaning/LICENSE", licence())
    return True
