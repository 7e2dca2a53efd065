"""The matches between the features of two indexes: by the same number in one dictionary, or by the cosine of decoder vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.comparison.schema import MATCHES, NEAR
from autointerp.explorer.index.folder import EXAMPLES
from autointerp.progress import OnProgress
from autointerp.spec.spec import load
from sae.dictionary import Dictionary
from sae.formats.outline import DictionarySource
from sae.studies.matching import chance_cosine
from sae.studies.nearest_between import NONE, Nearest, nearest_between
from sae.studies.nearest_directions import Directions
from sae.subject.loading import choose_device

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Matched:
    """The rows of `matches-ID.parquet` from both sides, and the cosine that chance exceeds for 1% of features."""

    rows: tuple[pa.Table, pa.Table]
    chance: float | None


def of_one_dictionary(a: Side, b: Side, with_examples: bool) -> Matched:
    """Each feature with itself."""
    n = a.about.n_features
    itself = Nearest(np.arange(n), np.ones(n, dtype=np.float32), np.ones(n, dtype=bool))
    return _tables(a, b, itself, itself, with_examples, families=False, chance=None)


def of_two_dictionaries(a: Side, b: Side, with_examples: bool, report: OnProgress) -> Matched | str:
    """Each feature with the nearest of the other dictionary; a sentence if their vectors cannot be compared. Raises `SaeError` and
    `UsageError` if a dictionary cannot be loaded."""
    loaded = []
    for side in (a, b):
        report(f"reading the dictionary of {side.about.name}", 0, 0)
        loaded.append(_dictionary(side))
    if any(dictionary.W_dec.ndim != 2 for dictionary in loaded):
        return "The features of one dictionary write to several layers and have no one direction: only distributions are compared."
    widths = [dictionary.d_out for dictionary in loaded]
    if widths[0] != widths[1]:
        return f"The decoder vectors have {widths[0]:,} and {widths[1]:,} numbers, so features cannot be matched: only distributions are compared."
    device = choose_device("auto")
    one, other = (Directions.of([dictionary], device) for dictionary in loaded)
    found = nearest_between(one, other, lambda done, total: report("matching features", done, total))
    chance = chance_cosine(loaded[0], loaded[1], seed=0)
    return _tables(a, b, *found, with_examples, families=True, chance=chance)


def _dictionary(side: Side) -> Dictionary:
    """The dictionary of an index. Raises `UsageError` if another one has taken its place."""
    about = side.about.dictionary
    section = load(side.run / "spec.toml").dictionary if side.run else None
    source = DictionarySource(
        about.path,
        section.format if section else "auto",
        about.hook_point,
        section.revision if section else None,
        section.k if section else None,
    )
    dictionary = source.load()
    if dictionary.d_sae != about.d_sae or side.dictionary not in ("", dictionary.fingerprint):
        raise UsageError(f"{about.path} is no longer the dictionary of {side.folder.path}: make the index again")
    return dictionary


def _tables(
    a: Side, b: Side, one: Nearest, other: Nearest, with_examples: bool, *, families: bool, chance: float | None
) -> Matched:
    strongest = [_strongest(side) for side in (a, b)] if with_examples else None
    rows = []
    for own, back, place in ((one, other, 0), (other, one, 1)):
        examples = _shared(strongest[place], strongest[1 - place], own.nearest) if strongest else None
        rows.append(_rows(own, _children(back, len(own.nearest)) if families else None, examples))
    return Matched((rows[0], rows[1]), chance)


def _rows(own: Nearest, children: pa.Array | None, examples: tuple[Integers, Integers] | None) -> pa.Table:
    n = len(own.nearest)
    shared, compared = examples or (np.zeros(n, np.int64), np.zeros(n, np.int64))
    unknown = np.full(n, examples is None) | (own.nearest == NONE)
    found: dict[str, Any] = {
        "row": np.arange(n),
        "nearest": pa.array(own.nearest, mask=own.nearest == NONE),
        "cosine": own.cosine,
        "mutual": own.mutual,
        "children": pa.array([[]] * n, MATCHES.field("children").type) if children is None else children,
        "shared": pa.array(shared, mask=unknown),
        "compared": pa.array(compared, mask=unknown),
    }
    return pa.table(found).cast(MATCHES)


def _children(back: Nearest, n: int) -> pa.Array:
    """For each of n features those of the other dictionary whose nearest it is, the nearest first."""
    rows = np.flatnonzero((back.nearest != NONE) & (back.cosine >= NEAR))
    rows = rows[np.lexsort((rows, -back.cosine[rows], back.nearest[rows]))]
    ends = np.bincount(back.nearest[rows], minlength=n).cumsum()
    values = pa.StructArray.from_arrays(
        [pa.array(rows, pa.int32()), pa.array(back.cosine[rows], pa.float32())], ["row", "cosine"]
    )
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), values)


def _strongest(side: Side) -> pa.Table:
    """`row`, `document` and `position` of the strongest examples of all features."""
    parts = []
    with pq.ParquetFile(side.folder.path / EXAMPLES) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=["row", "bin", "document", "position"])
            kept = pc.and_(pc.equal(group["bin"], 0), pc.less(group["row"], side.about.n_features))
            parts.append(group.filter(kept).drop_columns("bin"))
    empty = pa.table(
        {"row": pa.array([], pa.int32()), "document": pa.array([], pa.int64()), "position": pa.array([], pa.int32())}
    )
    return pa.concat_tables([empty, *parts])


def _shared(own: pa.Table, other: pa.Table, nearest: Integers) -> tuple[Integers, Integers]:
    """For each feature the number of tokens that are among the strongest examples of it and of its nearest, and the smaller number of
    examples of the two."""
    n, tokens = len(nearest), np.concatenate([_tokens(own), _tokens(other)])
    number = np.unique(tokens, return_inverse=True)[1].astype(np.int64)
    n_tokens = int(number.max(initial=0)) + 1
    rows, others = own["row"].to_numpy().astype(np.int64), other["row"].to_numpy().astype(np.int64)
    both = np.isin(nearest[rows] * n_tokens + number[: len(rows)], others * n_tokens + number[len(rows) :])
    both &= nearest[rows] != NONE
    counts = np.bincount(others, minlength=max(int(nearest.max(initial=0)) + 1, 1))
    return np.bincount(rows[both], minlength=n), np.minimum(np.bincount(rows, minlength=n), counts[nearest])


def _tokens(examples: pa.Table) -> Integers:
    """One number for each document and position."""
    places: Integers = (examples["document"].to_numpy().astype(np.int64) << 32) | examples[
        "position"
    ].to_numpy().astype(np.int64)
    return places
