"""Synthetic indexes of a dictionary, of a few units for tests or of a million for measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from autointerp.explorer.index import marked, schema
from autointerp.explorer.index.folder import EXAMPLES, LABELS, MAP, UNITS, IndexFolder
from autointerp.explorer.index.schema import (
    EXAMPLE_UNITS,
    HISTOGRAM_PARTS,
    About,
    Cluster,
    DictionaryAbout,
    SubjectAbout,
)

WORDS = [
    "the",
    "of",
    "a",
    "in",
    "to",
    "and",
    "token",
    "before",
    "after",
    "legal",
    "terms",
    "contracts",
    "names",
    "cities",
    "capital",
    "France",
    "Paris",
    "verbs",
    "past",
    "tense",
    "numbers",
    "years",
    "dates",
    "months",
    "code",
    "brackets",
    "python",
    "functions",
    "chemistry",
    "acids",
    "proteins",
    "genes",
    "music",
    "songs",
    "sports",
    "football",
    "goals",
    "weather",
    "rain",
    "snow",
    "animals",
    "dogs",
    "cats",
    "birds",
    "food",
    "bread",
    "cheese",
    "wine",
    "politics",
    "elections",
    "votes",
    "law",
    "courts",
    "judges",
    "war",
    "peace",
    "ships",
    "sea",
    "rivers",
    "mountains",
    "health",
    "doctors",
    "medicine",
    "money",
    "banks",
    "prices",
]
_BINS, _TOP = 10, 5
_MADE_UP = 20_000
"""Rare words, of which each explanation has one."""


def make(
    path: Path, *, n_features: int = 120, n_neurons: int = 20, labelled: float = 0.6, per_bin: int = 2, n_tokens: int = 40,
    detailed: int | None = None, hostile: Sequence[str] = (), run: str | None = None, seed: int = 0,
) -> IndexFolder:  # fmt: skip
    """Write an index into `path`. With `detailed`, only every such group of 64 units has more than one example. `hostile` texts become explanations and tokens of the
    first units."""
    rng = np.random.default_rng(seed)
    n = n_features + n_neurons
    folder = IndexFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    of_units, of_labels, of_examples = rng.spawn(3)
    groups: list[tuple[int, int, int]] = []
    with folder.writer(UNITS) as units, folder.writer(EXAMPLES) as examples:
        for first in range(0, n, schema.UNIT_ROWS):
            end, lists = min(n, first + schema.UNIT_ROWS), []
            for low in range(first, end, EXAMPLE_UNITS):
                rows = np.arange(low, min(end, low + EXAMPLE_UNITS))
                whole = detailed is None or len(groups) % detailed == 0
                shown = per_bin if whole else 0, _TOP if whole else 1
                table = _examples(rows, of_examples, *shown, n_tokens, hostile)
                lists.append(marked.of_examples(table, low, low + len(rows)))
                examples.write_table(table)
                groups.append((low, len(rows), len(groups)))
            units.write_table(_units(np.arange(first, end), n_features, n, of_units, hostile, pa.concat_arrays(lists)))
    folder.write_table(LABELS, _labels(n, labelled, of_labels, hostile, run))
    folder.finish(
        About(
            identity=f"synthetic-{seed}", name="a synthetic dictionary", run=run,
            subject=SubjectAbout(name="tiny/subject", precision="float32", n_layers=4),
            dictionary=DictionaryAbout(
                path="tiny/dictionary", hook_point="layers.2.resid_post", d_sae=n_features, architecture="topk"
            ),
            corpus="1,000 made-up documents", n_tokens=1_000_000, n_documents=1_000, n_features=n_features,
            n_neurons=n_neurons, bins=_BINS, top=_TOP, per_bin=per_bin, groups=groups,
        )
    )  # fmt: skip
    return folder


def add_map(folder: IndexFolder, n: int, names: Sequence[str], seed: int = 0) -> None:
    """Add a map of `n` features, in a cluster around its own place for each name, all of one size and in the order of their rows."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) * len(names) // n
    centres = np.array(
        [[20 * np.cos(a), 20 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, len(names), endpoint=False)]
    )
    at = centres[cluster] + rng.normal(size=(n, 2))
    folder.write_table(MAP, pa.table({"row": np.arange(n), "x": at[:, 0], "y": at[:, 1], "cluster": cluster}))
    sizes = np.bincount(cluster, minlength=len(names))
    places = [at[cluster == number].mean(axis=0) for number in range(len(names))]
    folder.write_clusters(
        [
            Cluster(
                cluster=number,
                name=name,
                size=int(sizes[number]),
                x=float(places[number][0]),
                y=float(places[number][1]),
            )
            for number, name in enumerate(names)
        ]
    )


def _units(
    rows: np.ndarray, n_features: int, n: int, rng: np.random.Generator, hostile: Sequence[str], strongest: pa.Array
) -> pa.Table:
    density = 10 ** rng.uniform(-6, -1, len(rows))
    maximum = rng.gamma(4.0, 3.0, len(rows))
    histogram = (density[:, None] * 1e6 * np.exp(-np.arange(HISTOGRAM_PARTS) / 6)).astype(np.int64)
    number = np.where(rows < n_features, rows, (rows - n_features) // 2)
    ids = [
        f"feature-{number[i]}" if row < n_features else f"neuron-{number[i]}{'+-'[(row - n_features) % 2]}"
        for i, row in enumerate(rows)
    ]
    columns: dict[str, Any] = {
        "row": rows, "unit_id": ids, "kind": np.where(rows < n_features, "feature", "neuron"), "number": number,
        "density": density, "events": histogram.sum(axis=1), "maximum": maximum, "mean": maximum / 3,
        "histogram": list(histogram),
        "promoted": _tokens(rows, rng, hostile), "suppressed": _tokens(rows, rng, ()),
        "nearest": _others(rows, n, "cosine", rng), "together": _others(rows, n, "share", rng),
        "neurons": _structs({"unit_id": rng.choice([f"neuron-{i}+" for i in range(50)], 5 * len(rows)),
                             "correlation": rng.uniform(-1, 1, 5 * len(rows))}, 5),
        "marked": strongest,
    }  # fmt: skip
    return pa.table({name: _column(name, value) for name, value in columns.items()}, schema=schema.UNITS)


def _column(name: str, value: Any) -> pa.Array:
    kind = schema.UNITS.field(name).type
    return value.cast(kind) if isinstance(value, pa.Array) else pa.array(value, from_pandas=True).cast(kind)


def _structs(fields: dict[str, np.ndarray], each: int) -> pa.Array:
    values = pa.StructArray.from_arrays([pa.array(value) for value in fields.values()], list(fields))
    return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, each, dtype=np.int32), values)


def _tokens(rows: np.ndarray, rng: np.random.Generator, hostile: Sequence[str]) -> pa.Array:
    tokens = np.array([f" {word}" for word in WORDS], dtype=object)[rng.integers(0, len(WORDS), 10 * len(rows))]
    for place, text in enumerate(hostile):
        if place in rows:
            tokens[10 * (place - int(rows[0]))] = text
    return _structs({"token": tokens, "effect": np.sort(rng.normal(size=10 * len(rows))).astype(np.float32)}, 10)


def _others(rows: np.ndarray, n: int, what: str, rng: np.random.Generator) -> pa.Array:
    others = rng.integers(0, n, 10 * len(rows)).astype(np.int32)
    return _structs({"row": others, what: rng.uniform(0, 1, 10 * len(rows)).astype(np.float32)}, 10)


def _labels(n: int, share: float, rng: np.random.Generator, hostile: Sequence[str], run: str | None) -> pa.Table:
    rows = np.flatnonzero(rng.random(n) < share)
    rows = np.union1d(rows, np.arange(len(hostile)))
    words = np.array(WORDS, dtype=object)[rng.integers(0, len(WORDS), (len(rows), 8))]
    rare = rng.integers(0, _MADE_UP, len(rows))
    texts = [f"{' '.join(some)} word{number}" for some, number in zip(words, rare, strict=True)]
    texts[: len(hostile)] = hostile
    propagated = (rng.random(len(rows)) < 0.3) & (rows >= len(hostile))
    return pa.table(
        {
            "row": rows, "explanation": texts, "source": np.where(propagated, "propagated", f"run:{run or 'made-up'}"),
            "judge": np.where(propagated, "", "made-up/judge"),
            "grade": pa.array(rng.uniform(0, 3, len(rows)), mask=propagated),
            "distinction": pa.array(rng.uniform(0, 1, len(rows)), mask=propagated),
            "probability": pa.array(rng.uniform(0.5, 1, len(rows)), mask=~propagated),
        }
    )  # fmt: skip


def _examples(
    rows: np.ndarray, rng: np.random.Generator, per_bin: int, top: int, n_tokens: int, hostile: Sequence[str]
) -> pa.Table:
    bins = np.array([0] * top + [b for b in range(_BINS, 0, -1) for _ in range(per_bin)])
    rank = np.concatenate([np.arange(top), np.tile(np.arange(per_bin), _BINS if per_bin else 0)])
    n = len(rows) * len(bins)
    tokens = np.array([f" {word}" for word in WORDS], dtype=object)[rng.integers(0, len(WORDS), n * n_tokens)]
    for place, text in enumerate(hostile):
        if place in rows:
            at = (place - int(rows[0])) * len(bins) * n_tokens
            tokens[at + n_tokens // 2 : at + n_tokens // 2 + 3] = text
    activations = rng.gamma(1.0, 2.0, n * n_tokens) * (rng.random(n * n_tokens) < 0.2)
    level = np.where(bins == 0, 10.0 - rank / 10, bins - 0.5)
    mark = n_tokens // 2
    activations.reshape(n, n_tokens)[:, mark] = np.tile(level, len(rows))
    offsets = np.arange(0, n * n_tokens + 1, n_tokens, dtype=np.int32)
    return pa.table(
        {
            "row": np.repeat(rows, len(bins)), "bin": np.tile(bins, len(rows)), "rank": np.tile(rank, len(rows)),
            "activation": np.tile(level, len(rows)), "document": rng.integers(0, 1_000, n),
            "position": rng.integers(0, 900, n), "mark": np.full(n, mark),
            "tokens": pa.ListArray.from_arrays(offsets, pa.array(tokens, pa.string())),
            "activations": pa.ListArray.from_arrays(offsets, pa.array(activations, pa.float32())),
        }
    ).cast(schema.EXAMPLES)  # fmt: skip
