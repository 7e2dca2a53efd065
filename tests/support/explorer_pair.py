"""Two small runs with indexes of two dictionaries whose relation is known: which features are pairs, splits, joins and strangers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from support import explorer_index
from support.results import graded_runs
from support.sae.format_files import write_saelens

from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import ABOUT, EXAMPLES, LABELS, UNITS, IndexFolder
from autointerp.explorer.web.library import INDEX
from sae.formats.load import load_dictionary

OWN, OTHER = "own-11111111", "other-22222222"
WIDTH = 160
PAIRS, SPLITS, JOINS, STRANGERS = 40, 6, 4, 10
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """The truth: rows in the own and in the other index. `pairs` (n, 2); `splits` and `joins` (n, 3): a feature and its two children."""

    pairs: Integers
    splits: Integers
    joins: Integers
    only_own: Integers
    only_other: Integers


def make(results: Path, *, hostile: Sequence[str] = (), seed: int = 0) -> Planted:
    """Write both runs with their indexes and dictionaries into `results`."""
    own, other, planted = _decoders(seed)
    explained = {"hostile": hostile, "labelled": 0.9, "n_neurons": 0, "n_tokens": 12}
    make_run(results, OWN, own, **explained, seed=seed)
    make_run(results, OTHER, other, **explained, seed=seed + 1)
    return planted


def make_run(
    results: Path, run: str, decoder: torch.Tensor, *, graded: bool = True, judge: str = "openai/gpt-test", seed: int = 0, **index: Any
) -> Side:  # fmt: skip
    """A finished run with these decoder rows, and its index."""
    if graded:
        rng = np.random.default_rng(seed)
        grades = [rng.integers(0, 4, (8, 2, 3)).astype(float) for _ in range(2)]
        graded_runs.write(results / run, *grades, dictionary=run, judge=judge)
    saved = write_dictionary(results / "dictionaries" / run, decoder)
    folder = explorer_index.make(results / run / INDEX, n_features=len(decoder), run=run, seed=seed, **index)
    change_about(
        folder, identity=f"{run}-{seed}".ljust(64, "0"), dictionary={"path": str(saved), "hook_point": "resid_post.2"}
    )
    fingerprint = load_dictionary(str(saved)).fingerprint
    return Side(change_about(folder, dictionary={"fingerprint": fingerprint}))


def write_dictionary(folder: Path, decoder: torch.Tensor) -> Path:
    """A dictionary with these decoder rows in SAELens' format."""
    n, width = decoder.shape
    tensors = {"W_dec": decoder, "W_enc": decoder.T, "b_enc": torch.zeros(n), "b_dec": torch.zeros(width)}
    return write_saelens(folder, tensors, d_in=width, d_sae=n, metadata={"hook_name": "blocks.2.hook_resid_post"})


def change_about(folder: IndexFolder, **changes: Any) -> IndexFolder:
    """Write `index.json` with other values."""
    values = json.loads((folder.path / ABOUT).read_text())
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    (folder.path / ABOUT).write_text(json.dumps(values))
    return IndexFolder(folder.path)


def copy_tables(source: IndexFolder, target: IndexFolder, names: Sequence[str] = (UNITS, EXAMPLES, LABELS)) -> None:
    """Give an index the tables of another."""
    for name in names:
        (target.path / name).write_bytes((source.path / name).read_bytes())


def set_labels(folder: IndexFolder, labels: dict[int, tuple[str, float | None]]) -> None:
    """Give an index these explanations and grades alone."""
    rows = [
        {"row": row, "explanation": text, "source": "run:made-up", "judge": "", "grade": grade, "distinction": None, "probability": None}
        for row, (text, grade) in sorted(labels.items())
    ]  # fmt: skip
    folder.write_table(LABELS, pa.Table.from_pylist(rows, schema=folder.table(LABELS).schema))


def _decoders(seed: int) -> tuple[torch.Tensor, torch.Tensor, Planted]:
    """Decoder rows of both dictionaries in shuffled order, from directions that are orthogonal to each other."""
    rng = np.random.default_rng(seed)
    n_directions = PAIRS + SPLITS + JOINS
    basis = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    apart = basis[n_directions:]  # directions in which only one dictionary writes
    pairs, splits, joins = np.split(basis[:n_directions], [PAIRS, PAIRS + SPLITS])

    def mixed(rows: NDArray[np.float64], cosine: float, sign: int) -> NDArray[np.float64]:
        noise = rng.standard_normal((len(rows), len(apart))) @ apart * sign
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        return cosine * rows + np.sqrt(1 - cosine**2) * noise

    def children(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([mixed(rows, 0.9, 1), mixed(rows, 0.8, -1)])

    n_apart = STRANGERS
    strangers = [mixed(np.zeros((n_apart, WIDTH)), 0.0, 1) for _ in range(2)]
    own = np.concatenate([pairs, splits, children(joins), strangers[0]])
    other = np.concatenate([mixed(pairs, 0.95, 1), children(splits), joins, strangers[1]])
    orders = [rng.permutation(len(own)), rng.permutation(len(other))]
    place = [np.argsort(order) for order in orders]  # where each row has gone
    a, b = place
    at = PAIRS + SPLITS
    split = [a[PAIRS:at], b[PAIRS : PAIRS + SPLITS], b[PAIRS + SPLITS : PAIRS + 2 * SPLITS]]
    joined = [b[PAIRS + 2 * SPLITS : PAIRS + 2 * SPLITS + JOINS], a[at : at + JOINS], a[at + JOINS : at + 2 * JOINS]]
    planted = Planted(
        pairs=np.stack([a[:PAIRS], b[:PAIRS]], axis=1),
        splits=np.stack(split, axis=1),
        joins=np.stack(joined, axis=1),
        only_own=np.sort(a[-n_apart:]),
        only_other=np.sort(b[-n_apart:]),
    )
    scale = [rng.uniform(0.5, 2, (len(rows), 1)) for rows in (own, other)]  # cosines ignore lengths
    rows = [
        torch.tensor((rows * size)[order], dtype=torch.float32)
        for rows, size, order in zip((own, other), scale, orders, strict=True)
    ]
    return rows[0], rows[1], planted
