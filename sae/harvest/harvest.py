"""The harvest: one pass over a corpus that reads sampled features and neurons together and keeps a `Sketch` of them.

    tokens -> subject, stopped after the hook point -> x, m
    features: f_i(x) * ||W_dec_i||      neurons: relu(+m_j), relu(-m_j)
    -> sketch -> exemplars with the probability at which each was drawn

The corpus is read in shards whose sketches merge exactly, wherever and however often each was read. Floating point depends on a
batch's shape, so batches are formed within fixed blocks of the corpus and a shard is a run of whole blocks: where it is cut
changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError
from sae.harvest.activation_blocks import MakeBlock
from sae.harvest.encoder import FeatureEncoder, NeuronEncoder
from sae.harvest.parallel import Each, side_by_side
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.token_positions import Batch
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

BLOCK_BATCHES = 32
"""Batches in a block: enough that contexts of like length find each other, few enough that a corpus has many blocks."""
Shard = list[np.ndarray]
"""The rows of contexts of each of its blocks."""


@dataclass(frozen=True)
class HarvestPlan:
    """What is read and how much of it is kept. `window` and `batch_tokens` in tokens."""

    units: tuple[UnitKey, ...]
    quota: Quota
    window: int
    skip_positions: int
    max_norm_ratio: float
    seed: int
    batch_tokens: int = 4096


class UnitReader:
    """Reads the activations of chosen units, `units[j]` being unit j of the sketch, from the values at `hook_points`."""

    def __init__(self, subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> None:
        self.subject, self.dictionary, self.units = subject, dictionary, tuple(units)
        self.hook_point = dictionary.hook_point
        self.neuron_hook_point = subject.neuron_hook_point(self.hook_point)
        features = [(j, unit.index) for j, unit in enumerate(units) if unit.kind == "feature"]
        neurons = [(j, unit.index, 1.0 if unit.sign == "+" else -1.0) for j, unit in enumerate(units) if unit.sign]
        self._encoders: list[tuple[str, FeatureEncoder | NeuronEncoder]] = []
        if features:
            numbers = self._numbers([j for j, _ in features])
            rounded = subject.precision == "bfloat16"
            encoder = FeatureEncoder(dictionary, [i for _, i in features], numbers, rounded=rounded)
            self._encoders.append((self.hook_point, encoder))
        if neurons:
            numbers = self._numbers([j for j, *_ in neurons])
            self._encoders.append(
                (self.neuron_hook_point, NeuronEncoder([i for _, i, _ in neurons], [s for *_, s in neurons], numbers))
            )
        self.hook_points = {self.hook_point, *(name for name, _ in self._encoders)}

    def _numbers(self, units: list[int]) -> Tensor:
        return torch.tensor(units, dtype=torch.int64, device=self.subject.device)

    def blocks(self, values: Mapping[str, Tensor], counted: Tensor) -> Iterator[MakeBlock]:
        """Activations of all units, in blocks yet to be computed, given the values (N, width) of N tokens at each of `hook_points`."""
        for name, encoder in self._encoders:
            yield from encoder.blocks(values[name], counted)


@dataclass(frozen=True)
class Reading:
    """One dictionary's part in a pass: what is read, the largest `limit` of a counted token's norm, and where it goes."""

    reader: UnitReader
    plan: HarvestPlan
    limit: float
    sketch: Sketch


def new_sketch(plan: HarvestPlan, device: torch.device | str = "cpu") -> Sketch:
    """An empty sketch for the plan's units."""
    ids = [u.unit_id for u in plan.units]
    return Sketch(ids, plan.quota, window=plan.window, seed=plan.seed, device=str(device))


def shards(corpus: Corpus, shard_tokens: int, batch_tokens: int) -> list[Shard]:
    """The corpus as shards of about `shard_tokens` tokens, each of at least one block. Blocks depend on `batch_tokens` alone."""
    size = BLOCK_BATCHES * batch_tokens
    lengths = corpus.contexts["length"].astype(np.int64)
    block = (np.cumsum(lengths) - lengths) // size
    firsts = np.flatnonzero(np.diff(block, prepend=-1))
    found: dict[int, Shard] = {}
    for rows in np.split(np.arange(len(block)), firsts[1:]):
        found.setdefault(int(block[rows[0]]) * size // shard_tokens, []).append(rows)
    return list(found.values())


def n_tokens(corpus: Corpus, shard: Shard) -> int:
    """Tokens of a shard's contexts."""
    return sum(int(corpus.contexts["length"][rows].sum()) for rows in shard)


def read_shard(
    readings: Sequence[Reading], corpus: Corpus, shard: Shard, progress: Callable[[int], None] | None = None
) -> None:
    """Run a shard's contexts through the subject, once for all readings, and into their sketches.

    The readings share subject and `batch_tokens`; each comes out as it would alone. `progress` is called after each batch with
    the tokens read. Raises `SaeError` where the subject computes values that are not finite, and whatever `progress` raises.
    """
    if len({(id(r.reader.subject), r.plan.batch_tokens) for r in readings}) != 1:
        raise ValueError("readings of one pass share a subject and batch_tokens")
    hook_points = sorted(set().union(*(r.reader.hook_points for r in readings)))
    subject, done = readings[0].reader.subject, 0
    with side_by_side(subject.device) as each:
        for rows in shard:
            for batch in batches(corpus, rows, readings[0].plan.batch_tokens):
                values, text = run_contexts(subject, corpus, batch, hook_points)
                _read_batch(readings, corpus, batch, values, text, each)
                done += int(corpus.contexts["length"][batch].sum())
                if progress:
                    progress(done)


def batches(corpus: Corpus, rows: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """A block's rows in batches of at most `batch_tokens` tokens, padding included; contexts of like length share one."""
    rows = rows[np.argsort(-corpus.contexts["length"][rows], kind="stable")]
    start = 0
    while start < len(rows):
        width = int(corpus.contexts["length"][rows[start]]) + (corpus.bos_id is not None)
        chosen = rows[start : start + max(1, batch_tokens // width)]
        yield chosen
        start += len(chosen)


@torch.inference_mode()
def _read_batch(
    readings: Sequence[Reading],
    corpus: Corpus,
    rows: np.ndarray,
    values: Mapping[str, Tensor],
    text: Tensor,
    each: Each,
) -> None:
    device = text.device
    info = corpus.contexts[rows]
    length, *where = (
        torch.as_tensor(info[name].astype(np.int64), device=device)
        for name in ("length", "document", "position", "offset")
    )
    column = torch.cat([torch.arange(int(n), device=device) for n in info["length"]])
    for reading in readings:
        norms = values[reading.reader.hook_point].norm(dim=1)
        check_finite(norms[text], reading.reader.hook_point)
        counted = text & (norms <= reading.limit) & (column >= reading.plan.skip_positions)
        reading.sketch.update(Batch(counted, length, *where), reading.reader.blocks(values, counted), each)


@torch.inference_mode()
def run_contexts(
    subject: Subject, corpus: Corpus, rows: np.ndarray, hook_points: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """Values (N, width) of the contexts' tokens, without BOS and padding, and which of the tokens are text (N,)."""
    tokens, text = corpus.batch(rows)
    columns = np.arange(tokens.shape[1]) - int(corpus.bos_id is not None)
    used = (columns >= 0) & (columns < corpus.contexts["length"][rows][:, None])
    place = torch.as_tensor(np.flatnonzero(used), device=subject.device)
    values = subject.run(torch.as_tensor(tokens, device=subject.device), hook_points)
    flat = {name: value.flatten(0, 1) for name, value in values.items()}
    if len(place) < used.size:
        flat = {name: value.index_select(0, place) for name, value in flat.items()}
    return flat, torch.as_tensor(text[used], device=subject.device)


@torch.inference_mode()
def norm_limit(reader: UnitReader, corpus: Corpus, plan: HarvestPlan) -> float:
    """Largest norm of a counted token: `max_norm_ratio` times the median over 32 contexts drawn by the seed.

    SmolLM2's first position has 150 times the median norm; a few such tokens would fill every unit's top bin.
    """
    drawn = np.random.default_rng([plan.seed, 3]).permutation(len(corpus.contexts))[:32]
    values, text = run_contexts(reader.subject, corpus, np.sort(drawn), [reader.hook_point])
    kept = values[reader.hook_point].norm(dim=1)[text]
    if not len(kept):
        raise SaeError(NOTHING_COUNTED)
    check_finite(kept, reader.hook_point)
    return float(kept.median()) * plan.max_norm_ratio


def check_finite(norms: Tensor, hook_point: str) -> None:
    """Raise `SaeError` for values that no token would be counted by: units would look dead that nobody could read."""
    if not bool(norms.isfinite().all()):
        raise SaeError(
            f"the subject computes NaN or infinite values at {hook_point}: mend its weights, or raise subject.precision to float32"
        )


def save(path: Path, sketch: Sketch, seconds: float) -> None:
    """Write a shard's sketch and the seconds that it took, as npz without pickles."""
    with path.open("wb") as out:
        np.savez(out, seconds=np.array(seconds), **sketch.state())  # type: ignore[arg-type]


def restore(path: Path, plan: HarvestPlan, device: torch.device | str) -> tuple[Sketch, float]:
    """Read back what `save` wrote."""
    sketch = new_sketch(plan, device)
    with np.load(path, allow_pickle=False) as saved:
        sketch.restore(saved)
        return sketch, float(saved["seconds"])
