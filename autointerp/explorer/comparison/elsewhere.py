"""A feature in other dictionaries: its matches in the comparisons that are computed already, read from their files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.explorer.comparison import files
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.comparison.schema import NEAR, Matching
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.schema import PROPAGATED, UNIT_ROWS

_MOST_CHILDREN = 5


def elsewhere(folder: IndexFolder, row: int, folder_of: Callable[[str], Path]) -> list[dict[str, Any]]:
    """For each computed comparison with the index of a run that has not changed since: the feature's nearest there, whether they are near
    and mutual, and further features near it. `folder_of` returns the folder of the index of a run."""
    if row >= folder.about.n_features:
        return []
    side = Side(folder)
    found = []
    for matching in files.read_all(side):
        if matching.run is None or matching.relation == "apart":
            continue
        other = IndexFolder(folder_of(matching.run))
        if _is_current(other, matching):
            match = _match(folder, matching.other, row)
            if match is not None:
                known = named(match, partial(_labels, other))
                found.append({"run": matching.run, "relation": matching.relation, **known})
    return found


def _is_current(other: IndexFolder, matching: Matching) -> bool:
    try:
        return other.about.identity == matching.other
    except UsageError:
        return False


def _match(folder: IndexFolder, other: str, row: int) -> dict[str, Any] | None:
    """A feature's row of the matches with an index; None if they cannot be read, which the page of the comparison says."""
    group, place = divmod(row, UNIT_ROWS)
    with suppress(UsageError):
        found: dict[str, Any] = files.table(folder.path, other, group=group).slice(place, 1).to_pylist()[0]
        return found
    return None


def named(match: dict[str, Any], labels: Callable[[list[int]], dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """The nearest feature and those whose nearest is this one, from a row of a file of matches; `labels` returns the explanation and grade of
    rows of the other index that have them."""
    children = [child for child in match["children"] if child["row"] != match["nearest"]]
    shown = children[:_MOST_CHILDREN]
    nearest = [] if match["nearest"] is None else [{"row": match["nearest"], "cosine": match["cosine"]}]
    known = labels([each["row"] for each in (*nearest, *shown)])
    named = [
        {
            "unit_id": f"feature-{each['row']}",
            "cosine": each["cosine"],
            **known.get(each["row"], {"explanation": None, "grade": None}),
        }
        for each in (*nearest, *shown)
    ]
    return {
        "nearest": named[0] if nearest else None,
        "near": match["cosine"] >= NEAR,
        "mutual": match["mutual"],
        "shared": match["shared"],
        "compared": match["compared"],
        "others": named[len(nearest) :],
        "n_others": len(children),
    }


def _labels(folder: IndexFolder, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The leading explanation and grade of some rows, from the parts of the file that have them."""
    wanted = sorted(set(rows))
    if not wanted or not folder.has(LABELS):
        return {}
    table: pa.Table = pq.read_table(
        folder.path / LABELS, columns=["row", "explanation", "source", "grade"], filters=[("row", "in", wanted)]
    )
    labels = sorted(table.to_pylist(), key=lambda label: label["source"] == PROPAGATED)
    return {label["row"]: {"explanation": label["explanation"], "grade": label["grade"]} for label in reversed(labels)}
