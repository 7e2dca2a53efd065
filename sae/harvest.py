"""The harvest: one pass over a corpus that reads sampled features and neurons together and keeps a `Sketch` of them.

    tokens -> subject, stopped after the hook point -> x, m
    features: f_i(x) * ||W_dec_i||      neurons: relu(+m_j), relu(-m_j)
    -> sketch -> exemplars with the probability at which each was drawn

The corpus is read in shards whose sketches merge exactly, wherever and however often each was read. Floating point depends on a
batch's shape, so batches are formed within fixed blocks of the corpus and a shard is a run of whole blocks: where it is cut
changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sae.errors import SaeError
from sae.sketch import Batch, Quota, Sketch

if TYPE_CHECKING:
    from sae.corpus import Corpus
    from sae.dictionary import Dictionary
    from sae.subject import Subject

BLOCK_BATCHES = 32
"""Batches in a block: enough that contexts of like length find each other, few enough that a corpus has many blocks."""
NOTHING_COUNTED = "the corpus has no countable token: give it longer documents, or lower harvest.skip_positions"
Shard = list[np.ndarray]
"""The rows of contexts of each of its blocks."""


@dataclass(frozen=True)
class UnitKey:
    """Which unit: feature `index`, or neuron `index` with the sign that counts as firing."""

    kind: str
    index: int
    sign: str

    @property
    def unit_id(self) -> str:
        return f"{self.kind}-{self.index}{self.sign}"


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


def sample_units(
    d_sae: int,
    n_mlp: int,
    *,
    features: int,
    neurons: int,
    seed: int,
    feature_ids: Sequence[int] | None = None,
    neuron_ids: Sequence[str] | None = None,
) -> tuple[UnitKey, ...]:
    """Draw units uniformly without replacement; a larger sample of the same seed contains the smaller one.

    Each sign of a neuron is a unit of its own: gated MLPs have both, and the paper says nothing of signs. Raises `SaeError`.
    """
    if feature_ids is None:
        if features > d_sae:
            raise SaeError(f"units.features = {features} exceeds the dictionary's {d_sae} features: lower it")
        feature_ids = np.random.default_rng([seed, 1]).permutation(d_sae)[:features].tolist()
    elif bad := [i for i in feature_ids if not 0 <= i < d_sae]:
        raise SaeError(f"units.feature_ids names feature {bad[0]}, but the dictionary has 0..{d_sae - 1}")
    if neuron_ids is None:
        if neurons > 2 * n_mlp:
            raise SaeError(f"units.neurons = {neurons} exceeds the layer's {2 * n_mlp} signed neurons: lower it")
        drawn = np.random.default_rng([seed, 2]).permutation(2 * n_mlp)[:neurons].tolist()
        signed = [(i // 2, "+-"[i % 2]) for i in drawn]
    else:
        signed = [_parse_neuron(name, n_mlp) for name in neuron_ids]
    keys = [UnitKey("feature", i, "") for i in feature_ids] + [UnitKey("neuron", i, sign) for i, sign in signed]
    if len(set(keys)) < len(keys):
        raise SaeError("units.feature_ids or units.neuron_ids names a unit twice: remove one")
    return tuple(keys)


def _parse_neuron(name: str, n_mlp: int) -> tuple[int, str]:
    index, sign = name[:-1], name[-1:]
    if not index.isdecimal() or sign not in ("+", "-") or int(index) >= n_mlp:
        raise SaeError(f"units.neuron_ids has {name!r}: write a neuron 0..{n_mlp - 1} and its sign, such as '17+'")
    return int(index), sign


class UnitReader:
    """Computes the activations of chosen units for a batch of tokens, in one forward pass."""

    def __init__(self, subject: Subject, dictionary: Dictionary, units: Sequence[UnitKey]) -> None:
        self.subject = subject
        self.hook_point = dictionary.hook_point
        self.neuron_hook_point = subject.neuron_hook_point(self.hook_point)
        self.dictionary = dictionary.to(subject.device, torch.float32)
        features = [u.index for u in units if u.kind == "feature"]
        neurons = [u for u in units if u.kind == "neuron"]
        self._features = torch.tensor(features, dtype=torch.int64, device=subject.device)
        self._neurons = torch.tensor([u.index for u in neurons], dtype=torch.int64, device=subject.device)
        self._signs = torch.tensor([1.0 if u.sign == "+" else -1.0 for u in neurons], device=subject.device)
        self._hook_points = [self.hook_point]
        if neurons and self.neuron_hook_point != self.hook_point:
            self._hook_points.append(self.neuron_hook_point)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) token ids -> activations (B, T, U), features first, and the L2 norm (B, T) of the dictionary's input."""
        sites = self.subject.run(tokens, self._hook_points)
        x = sites[self.hook_point].float()
        parts = [self.dictionary.activations(x, self._features)]
        if len(self._neurons):
            parts.append((sites[self.neuron_hook_point][..., self._neurons].float() * self._signs).relu_())
        return torch.cat(parts, dim=-1), x.norm(dim=-1)


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
    reader: UnitReader,
    corpus: Corpus,
    shard: Shard,
    plan: HarvestPlan,
    limit: float,
    sketch: Sketch,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run a shard's contexts through the subject and into the sketch. `progress` is called after each batch with the tokens read.

    Raises `SaeError` where the subject computes values that are not finite, and whatever `progress` raises.
    """
    done = 0
    for rows in shard:
        for chosen in batches(corpus, rows, plan.batch_tokens):
            _read_batch(reader, corpus, chosen, plan, limit, sketch)
            done += int(corpus.contexts["length"][chosen].sum())
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
    reader: UnitReader, corpus: Corpus, rows: np.ndarray, plan: HarvestPlan, limit: float, sketch: Sketch
) -> None:
    device = reader.subject.device
    tokens, counted_np = corpus.batch(rows)
    activations, norms = reader.read(torch.as_tensor(tokens, device=device))
    text = torch.as_tensor(counted_np, device=device)
    _check_finite(norms[text], reader.hook_point)
    counted = text & (norms <= limit)
    first = int(corpus.bos_id is not None)
    counted[:, : first + plan.skip_positions] = False
    info = corpus.contexts[rows]

    def column(name: str) -> Tensor:
        return torch.as_tensor(info[name].astype(np.int64), device=device)

    length = column("length") + first
    where = column("document"), column("position"), column("offset")
    sketch.update(Batch(activations, counted, *where, length, first))


@torch.inference_mode()
def norm_limit(reader: UnitReader, corpus: Corpus, plan: HarvestPlan) -> float:
    """Largest norm of a counted token: `max_norm_ratio` times the median over 32 contexts drawn by the seed.

    SmolLM2's first position has 150 times the median norm; a few such tokens would fill every unit's top bin.
    """
    drawn = np.random.default_rng([plan.seed, 3]).permutation(len(corpus.contexts))[:32]
    tokens, counted = corpus.batch(np.sort(drawn))
    _, norms = reader.read(torch.as_tensor(tokens, device=reader.subject.device))
    kept = norms[torch.as_tensor(counted, device=norms.device)]
    if not len(kept):
        raise SaeError(NOTHING_COUNTED)
    _check_finite(kept, reader.hook_point)
    return float(kept.median()) * plan.max_norm_ratio


def _check_finite(norms: Tensor, hook_point: str) -> None:
    """Such tokens would never be counted, and units would look dead that nobody could read."""
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
