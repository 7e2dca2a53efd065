"""The harvest: one pass over a corpus that reads sampled features and neurons together and keeps a `Sketch` of them.

    tokens -> subject, stopped after the hook point -> x, m
    features: f_i(x) * ||W_dec_i||      neurons: relu(+m_j), relu(-m_j)
    -> sketch -> exemplars with the probability at which each was drawn

The corpus is read in shards whose sketches merge exactly; a finished shard is on disk, so an interrupted harvest loses at
most one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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

SHARD_TOKENS = 1 << 18
NOTHING_COUNTED = "the corpus has no countable token: give it longer documents, or lower harvest.skip_positions"
Progress = Callable[[int, int], None]
"""Called with tokens done and tokens in all."""


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


def harvest(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    plan: HarvestPlan,
    folder: Path,
    progress: Progress | None = None,
) -> Sketch:
    """Read the whole corpus, shard by shard, keeping finished shards in `folder`; call it again to go on after a stop.

    Raises `SaeError` when no token is countable or the subject computes values that are not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reader = UnitReader(subject, dictionary, plan.units)
    limit = norm_limit(reader, corpus, plan)
    total, done = int(corpus.contexts["length"].sum()), 0

    def tell(within_shard: int) -> None:
        if progress:
            progress(done + within_shard, total)

    merged = new_sketch(plan, subject.device)
    for number, rows in enumerate(shards(corpus)):
        path = folder / f"shard-{number:05d}.npz"
        shard = new_sketch(plan, subject.device)
        size = int(corpus.contexts["length"][rows].sum())
        if path.exists():
            with np.load(path, allow_pickle=False) as saved:
                shard.restore(saved)
        else:
            read_contexts(reader, corpus, rows, plan, limit, shard, tell)
            _save(path, shard)
        merged.merge(shard)
        done += size
        tell(0)
    if not merged.n_counted:
        raise SaeError(NOTHING_COUNTED)
    return merged


def new_sketch(plan: HarvestPlan, device: torch.device | str = "cpu") -> Sketch:
    """An empty sketch for the plan's units."""
    ids = [u.unit_id for u in plan.units]
    return Sketch(ids, plan.quota, window=plan.window, seed=plan.seed, device=str(device))


def shards(corpus: Corpus) -> list[np.ndarray]:
    """Rows of contexts, cut into runs of about SHARD_TOKENS tokens."""
    ends = np.cumsum(corpus.contexts["length"])
    cuts = np.searchsorted(ends, np.arange(SHARD_TOKENS, ends[-1], SHARD_TOKENS))
    return [part for part in np.split(np.arange(len(ends)), np.unique(cuts)) if len(part)]


@torch.inference_mode()
def read_contexts(
    reader: UnitReader,
    corpus: Corpus,
    rows: np.ndarray,
    plan: HarvestPlan,
    limit: float,
    sketch: Sketch,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run the contexts `rows` through the subject and into the sketch. Contexts of like length share a batch."""
    rows = rows[np.argsort(-corpus.contexts["length"][rows], kind="stable")]
    start = done = 0
    while start < len(rows):
        width = int(corpus.contexts["length"][rows[start]]) + (corpus.bos_id is not None)
        chosen = rows[start : start + max(1, plan.batch_tokens // width)]
        sketch.update(_read_batch(reader, corpus, chosen, plan, limit))
        start += len(chosen)
        done += int(corpus.contexts["length"][chosen].sum())
        if progress:
            progress(done)


def _read_batch(reader: UnitReader, corpus: Corpus, rows: np.ndarray, plan: HarvestPlan, limit: float) -> Batch:
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
    return Batch(activations, counted, column("document"), column("position"), column("offset"), length, first)


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


def _save(path: Path, sketch: Sketch) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as out:
        np.savez(out, **sketch.state())  # type: ignore[arg-type]
    os.replace(partial, path)
