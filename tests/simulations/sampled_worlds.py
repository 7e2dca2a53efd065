"""Small corpora in which a unit's events are known, and samples of them by the harvest's own sketch under many seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.harvest.activation_blocks import DenseBlock
from sae.harvest.bins import bin_of
from sae.harvest.exemplars import Selection, select
from sae.harvest.sketch import Quota, Sketch
from sae.harvest.sketch_reader import SketchReader
from sae.harvest.token_positions import BatchLayout, split_of

CONTEXT_TOKENS, WINDOW, BINS = 48, 12, 5


class World(NamedTuple):
    """One unit's activation (n,) at each token of a corpus, and each token's document."""

    activation: NDArray[np.float32]
    document: NDArray[np.int64]

    @property
    def bin(self) -> NDArray[np.int64]:
        return bin_of(self.activation, self.activation.max(), BINS)


def _documents(lengths: list[int]) -> NDArray[np.int64]:
    """The document of each token, for lengths in contexts."""
    return np.repeat(np.arange(len(lengths)), np.array(lengths) * CONTEXT_TOKENS)


def _active(document: NDArray[np.int64], at: NDArray[np.int64], values: NDArray[np.floating]) -> World:
    activation = np.zeros(len(document), dtype=np.float32)
    activation[at] = values
    return World(activation, document)


def rare(rng: np.random.Generator) -> World:
    """39 events, in a fifth of 120 documents, some bins with a single one."""
    document = _documents([2] * 120)
    at = rng.choice(np.flatnonzero(document % 5 == 0), 39, replace=False)
    return _active(document, at, rng.exponential(size=39))


def two_long(rng: np.random.Generator) -> World:
    """261 events, most of them in two long documents."""
    document = _documents([40, 30, *[2] * 60])
    parts = [rng.choice(np.flatnonzero(document == d), n, replace=False) for d, n in ((0, 117), (1, 80))]
    parts.append(rng.choice(np.flatnonzero(document > 1), 64, replace=False))
    return _active(document, np.concatenate(parts), rng.exponential(size=261))


def bursty(rng: np.random.Generator) -> World:
    """Runs of neighbouring events in a third of 90 documents: about 900 in all, from one to several runs a document."""
    document = _documents([3] * 90)
    starts = rng.choice(np.flatnonzero(document % 3 == 0), 90, replace=False)
    at = np.unique(np.concatenate([np.arange(s, s + n) for s, n in zip(starts, rng.integers(2, 20, 90), strict=True)]))
    at = at[at < len(document)]
    return _active(document, at, rng.lognormal(0, 0.7, len(at)))


def tied(rng: np.random.Generator) -> World:
    """A fifth of all tokens active at one of ten levels, on the edges of bins."""
    document = _documents([2] * 100)
    at = np.flatnonzero(rng.random(len(document)) < 0.2)
    return _active(document, at, (np.ceil(10 * rng.beta(1, 3, len(at))) / np.float32(10)).astype(np.float32))


WORLDS: dict[str, Callable[[np.random.Generator], World]] = {
    "rare": rare, "two-long": two_long, "bursty": bursty, "tied": tied,
}  # fmt: skip


def sample(world: World, *, seeds: range, units: int, per_bin: int = 5) -> pd.DataFrame:
    """The judged events of `units` units with this activation, for each seed. Columns: seed, unit, token, bin, p, start, length."""
    contexts = np.zeros(len(world.document) // CONTEXT_TOKENS, dtype=CONTEXT)
    starts = np.arange(len(contexts)) * CONTEXT_TOKENS
    contexts["document"], contexts["offset"], contexts["length"] = world.document[starts], starts, CONTEXT_TOKENS
    contexts["position"] = starts - np.searchsorted(world.document, contexts["document"]) * 1
    n_tokens = len(world.document)
    tokens = np.arange(n_tokens, dtype=np.uint32)  # no text occurs twice
    corpus = Corpus(tokens, contexts, len(np.unique(world.document)), n_tokens, "simulated", None, frozenset())
    length, document, position, ordinal = (
        torch.as_tensor(contexts[name].astype(np.int64)) for name in ("length", "document", "position", "offset")
    )
    counted = torch.ones(n_tokens, dtype=torch.bool)
    values = torch.from_numpy(world.activation).expand(units, -1)
    selection = Selection(
        bins=BINS, per_bin=per_bin, top=0, shown_top=0, spread=0, explain_silent=0, silent=0, min_documents=0
    )
    rows = []
    for seed in seeds:
        quota = Quota(explain=2, judge=per_bin + 1, silent=4, top=1)
        sketch = Sketch([f"feature-{u}" for u in range(units)], quota, window=WINDOW, seed=seed)
        block = partial(DenseBlock, torch.arange(units), values.clone(), torch.zeros(units), counted)
        sketch.update(BatchLayout(counted, length, document, position, ordinal), [block])
        reader = SketchReader(sketch, corpus, BINS)
        for unit in range(units):
            for event in select(reader, unit, selection):
                if event.role == "score":
                    first = event.token - event.start
                    rows.append((seed, unit, event.token, event.bin, event.probability, first, len(event.window)))
    return pd.DataFrame(rows, columns=["seed", "unit", "token", "bin", "p", "first", "length"])


def split(world: World, seed: int) -> NDArray[np.int64]:
    """The side of the split on which each token is."""
    return np.asarray(split_of(torch.from_numpy(world.document), seed))
