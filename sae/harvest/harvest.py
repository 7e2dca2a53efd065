"""The harvest: one pass over a corpus that reads sampled features and neurons together and keeps a `Sketch` of them.

    tokens -> subject, stopped after the hook point -> x, m
    features: f_i(x) * ||W_dec_i||      neurons: relu(+m_j), relu(-m_j)
    -> sketch -> exemplars with the probability at which each was sampled

The corpus is read in shards, anywhere and any number of times: their sketches merge exactly. Floating point depends on a batch's
shape, so batches are formed within fixed blocks of the corpus, and a shard is a run of whole blocks: where shards are cut changes
no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.errors import NOTHING_COUNTED, SaeError, SubjectError
from sae.harvest.activation_blocks import MakeBlock
from sae.harvest.encoder import FeatureEncoder, NeuronEncoder
from sae.harvest.parallel import ForEach, side_by_side
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.token_positions import BatchLayout
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

BLOCK_BATCHES = 32
"""Batches in a block: enough to put contexts of similar length together, few enough that a corpus has many blocks."""
Shard = list[np.ndarray]
"""For each block of a shard, the rows of its contexts in `Corpus.contexts`."""


@dataclass(frozen=True)
class HarvestPlan:
    """Which units are read and how many of their events are kept. `window` and `batch_tokens` are in tokens."""

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
        """Activations of all units, in blocks computed when called, given the values (N, width) of N tokens at each of
        `hook_points`."""
        for name, encoder in self._encoders:
            yield from encoder.blocks(values[name], counted)


@dataclass(frozen=True)
class Reading:
    """One dictionary's part in a pass: its reader, the norm `limit` of a counted token, and the sketch that is filled.

    `done` is the number of the shard's tokens that the sketch already has, after some number of whole batches.
    """

    reader: UnitReader
    plan: HarvestPlan
    limit: float
    sketch: Sketch
    done: int = 0

    def add(self, layout: BatchLayout, values: Mapping[str, Tensor], for_each: ForEach) -> None:
        """Add one batch, given the values (N, width) at the reader's hook points."""
        self.sketch.update(layout, self.reader.blocks(values, layout.counted), for_each)


def new_sketch(plan: HarvestPlan, device: torch.device | str = "cpu") -> Sketch:
    """An empty sketch for the plan's units."""
    ids = [u.unit_id for u in plan.units]
    return Sketch(ids, plan.quota, window=plan.window, seed=plan.seed, device=str(device))


def shards(corpus: Corpus, shard_tokens: int, batch_tokens: int) -> list[Shard]:
    """The corpus in shards of about `shard_tokens` tokens, each of at least one block. Blocks depend on `batch_tokens` alone."""
    size = BLOCK_BATCHES * batch_tokens
    lengths = corpus.contexts["length"].astype(np.int64)
    block = (np.cumsum(lengths) - lengths) // size
    firsts = np.flatnonzero(np.diff(block, prepend=-1))
    by_number: dict[int, Shard] = {}
    for rows in np.split(np.arange(len(block)), firsts[1:]):
        by_number.setdefault(int(block[rows[0]]) * size // shard_tokens, []).append(rows)
    return list(by_number.values())


def drawn_shard(corpus: Corpus, tokens: int, batch_tokens: int, seed: int) -> Shard:
    """A shard of contexts drawn without replacement, of about `tokens` tokens together, in the corpus's order."""
    order = np.random.default_rng([seed, 16]).permutation(len(corpus.contexts))
    read = np.cumsum(corpus.contexts["length"][order].astype(np.int64))
    rows = np.sort(order[: int(np.searchsorted(read, tokens)) + 1])
    return np.array_split(rows, max(1, round(tokens / (BLOCK_BATCHES * batch_tokens))))


def n_tokens(corpus: Corpus, shard: Shard) -> int:
    """Number of tokens in a shard."""
    return sum(int(corpus.contexts["length"][rows].sum()) for rows in shard)


def read_shard(
    readings: Sequence[Reading], corpus: Corpus, shard: Shard, progress: Callable[[int], None] | None = None
) -> None:
    """Run a shard's contexts through the subject, once for all readings, and add the activations to their sketches.

    All readings have one subject and one `batch_tokens`; each sketch is the same as if it were read alone. `progress` is called
    after each batch with the number of tokens read, those that were `done` included. Raises `SubjectError` if the subject computes values that are not finite,
    and whatever `progress` raises.
    """
    if len({(id(r.reader.subject), r.plan.batch_tokens) for r in readings}) != 1:
        raise ValueError("readings of one pass share a subject and batch_tokens")
    hook_points = sorted(set().union(*(r.reader.hook_points for r in readings)))
    subject, done = readings[0].reader.subject, 0
    with side_by_side(subject.device) as for_each:
        for rows in shard:
            for batch in batches(corpus, rows, readings[0].plan.batch_tokens):
                done += int(corpus.contexts["length"][batch].sum())
                missing = [reading for reading in readings if reading.done < done]
                if not missing:
                    continue
                values, text = run_contexts(subject, corpus, batch, hook_points)
                _add_batch(missing, corpus, batch, values, text, for_each)
                if progress:
                    progress(done)


def batches(corpus: Corpus, rows: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """The rows in batches of at most `batch_tokens` tokens, padding included; contexts of similar length share a batch."""
    rows = rows[np.argsort(-corpus.contexts["length"][rows], kind="stable")]
    start = 0
    while start < len(rows):
        width = int(corpus.contexts["length"][rows[start]]) + (corpus.bos_id is not None)
        chosen = rows[start : start + max(1, batch_tokens // width)]
        yield chosen
        start += len(chosen)


@torch.inference_mode()
def _add_batch(
    readings: Sequence[Reading],
    corpus: Corpus,
    rows: np.ndarray,
    values: Mapping[str, Tensor],
    text: Tensor,
    for_each: ForEach,
) -> None:
    device = text.device
    contexts = corpus.contexts[rows]
    length, position, ordinal = (
        torch.as_tensor(contexts[name].astype(np.int64), device=device) for name in ("length", "position", "offset")
    )
    document = torch.as_tensor(corpus.document_keys(rows), device=device)
    column = torch.cat([torch.arange(int(n), device=device) for n in contexts["length"]])
    for reading in readings:
        norms = values[reading.reader.hook_point].norm(dim=1)
        check_finite(norms[text], reading.reader.hook_point)
        counted = text & (norms <= reading.limit) & (column >= reading.plan.skip_positions)
        layout = BatchLayout(counted, length, document, position, ordinal)
        reading.add(layout, values, for_each)


@torch.inference_mode()
def run_contexts(
    subject: Subject, corpus: Corpus, rows: np.ndarray, hook_points: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """Values (N, width) at the contexts' N tokens, without BOS and padding, and a mask (N,) of the tokens that are text."""
    tokens, text = corpus.batch(rows)
    columns = np.arange(tokens.shape[1]) - int(corpus.bos_id is not None)
    used = (columns >= 0) & (columns < corpus.contexts["length"][rows][:, None])
    used_index = torch.as_tensor(np.flatnonzero(used), device=subject.device)
    values = subject.run(torch.as_tensor(tokens, device=subject.device), hook_points)
    flat = {name: value.flatten(0, 1) for name, value in values.items()}
    if len(used_index) < used.size:
        flat = {name: value.index_select(0, used_index) for name, value in flat.items()}
    return flat, torch.as_tensor(text[used], device=subject.device)


@torch.inference_mode()
def norm_limit(reader: UnitReader, corpus: Corpus, plan: HarvestPlan) -> float:
    """Largest norm of a counted token: `max_norm_ratio` times the median over 32 contexts drawn by the seed.

    SmolLM2's first position has 150 times the median norm; a few such tokens would fill every unit's top bin.
    """
    drawn = np.random.default_rng([plan.seed, 3]).permutation(len(corpus.contexts))[:32]
    values, text = run_contexts(reader.subject, corpus, np.sort(drawn), [reader.hook_point])
    norms = values[reader.hook_point].norm(dim=1)[text]
    if not len(norms):
        raise SaeError(NOTHING_COUNTED)
    check_finite(norms, reader.hook_point)
    return float(norms.median()) * plan.max_norm_ratio


def check_finite(norms: Tensor, hook_point: str) -> None:
    """Raise `SubjectError` if a norm is NaN or infinite. Such tokens would not be counted, and units would look dead without a reason."""
    if not bool(norms.isfinite().all()):
        raise SubjectError(
            f"the subject computes NaN or infinite values at {hook_point}: repair its weights, or set subject.precision to float32"
        )


def save(path: Path, sketch: Sketch, seconds: float, note: str = "") -> None:
    """Write a sketch with its quotas, the seconds that reading took and a note, as npz without pickles."""
    about = {"seconds": np.array(seconds), "quota": np.array(astuple(sketch.quota)), "note": np.array(note)}
    with path.open("wb") as out:
        np.savez(out, **about, **sketch.state())  # type: ignore[arg-type]


def restore(path: Path, plan: HarvestPlan, device: torch.device | str) -> tuple[Sketch, float]:
    """Read the sketch and the seconds that `save` wrote. Quotas of the plan that are smaller than those of the file make the same sketch
    as reading with them would have. Raises `SaeError` if an earlier version wrote the file, `ValueError` if its quotas are too small."""
    sketch = new_sketch(plan, device)
    with np.load(path, allow_pickle=False) as saved:
        if "events.cluster" not in saved:
            raise SaeError(
                f"{path}: this part of the harvest was read by an earlier version: delete it, to read it again"
            )
        if "quota" in saved and (saved["quota"] < astuple(plan.quota)).any():
            raise ValueError(f"{path}: quotas {saved['quota'].tolist()} are too small for {plan.quota}")
        sketch.restore(saved)
        return sketch, float(saved["seconds"])


def saved_quota(path: Path) -> Quota | None:
    """The quotas of the sketch that `save` wrote; None if an earlier version did, which did not say them."""
    with np.load(path, allow_pickle=False) as saved:
        return Quota(*saved["quota"].tolist()) if "quota" in saved else None


def saved_note(path: Path) -> str:
    """The note that `save` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return str(saved["note"])
