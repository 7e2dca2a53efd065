"""The features of an index that have an explanation of their own, from which others can take theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.schema import PROPAGATED
from autointerp.judges.embedded.explanation_parser import NOTHING


@dataclass(frozen=True)
class Known:
    """Labelled features in the order of their `rows` (L,), each with its leading explanation; `of_run` says which are labels of a run."""

    rows: NDArray[np.int64]
    texts: tuple[str, ...]
    of_run: NDArray[np.bool_]


def read(folder: IndexFolder) -> Known:
    """The leading explanations of the features of an index, without those that were propagated and those that say nothing."""
    labels = folder.table(LABELS, ["row", "explanation", "source"])
    own = pc.and_(pc.not_equal(labels["source"], PROPAGATED), pc.less(labels["row"], folder.about.n_features))
    labels = labels.filter(pc.and_(own, pc.greater(pc.utf8_length(labels["explanation"]), 0)))
    rows, first = np.unique(labels["row"].to_numpy(), return_index=True)
    leading = labels.take(first)
    says = np.array([text != NOTHING for text in leading["explanation"].to_pylist()], dtype=bool)
    texts = [text for text in leading["explanation"].to_pylist() if text != NOTHING]
    of_run = pc.starts_with(leading["source"], "run:").to_numpy(zero_copy_only=False).astype(bool)
    return Known(rows[says].astype(np.int64), tuple(texts), of_run[says])
