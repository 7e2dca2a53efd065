"""The sketch against brute force: the same sample in any order and any cut, uniform in every bin, exact at the top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.exemplars import SketchReader
from sae.sketch import EXPLAIN, JUDGE, Batch, Quota, Sketch

T, WINDOW = 24, 8
QUOTA = Quota(explain=3, judge=4, quiet=6, top=5)


@dataclass
class Contexts:
    """Stands in for the corpus: one context a document."""

    contexts: np.ndarray

    @classmethod
    def of(cls, n: int) -> Contexts:
        kind = [("document", "i8"), ("position", "i4"), ("offset", "i8"), ("length", "i4")]
        return cls(np.array([(i, 0, i * T, T) for i in range(n)], dtype=kind))


def batch(activations: torch.Tensor, rows: list[int]) -> Batch:
    counted = torch.ones(len(rows), T, dtype=torch.bool)
    counted[:, 0] = False
    where = torch.tensor(rows)
    length = torch.full((len(rows),), T)
    return Batch(activations[rows], counted, where, torch.zeros_like(where), where * T, length, first=0)


def sketch_of(activations: torch.Tensor, order: list[list[int]], *, seed: int = 0, quota: Quota = QUOTA) -> Sketch:
    sketch = Sketch([f"feature-{u}" for u in range(activations.shape[2])], quota, window=WINDOW, seed=seed)
    for rows in order:
        sketch.update(batch(activations, rows))
    return sketch


def random_activations(seed: int, contexts: int, units: int = 4) -> torch.Tensor:
    """Units of very different scale and density; the last one is dead."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(contexts, T, units, generator=generator).abs() ** 2
    keep = torch.rand(contexts, T, units, generator=generator) < torch.tensor([1.0, 0.3, 0.02, 0.0])
    return values * keep * torch.tensor([1e-4, 1.0, 3e5, 1.0])


def same(a: Sketch, b: Sketch) -> None:
    left, right = a.state(), b.state()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.data())
def test_any_batching_and_order_give_the_same_sketch(seed: int, n: int, data: st.DataObject) -> None:
    activations = random_activations(seed, n)
    whole = sketch_of(activations, [list(range(n))])
    order = data.draw(st.permutations(range(n)))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(n - 1, 1)), max_size=6)))
    batches = [list(part) for part in np.split(np.array(order), cuts) if len(part)]
    same(whole, sketch_of(activations, batches))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.data())
def test_shards_merged_in_any_order_give_the_same_sketch(seed: int, n: int, data: st.DataObject) -> None:
    activations = random_activations(seed, n)
    whole = sketch_of(activations, [list(range(n))])
    owner = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    shards = [sketch_of(activations, [rows]) for s in range(4) if (rows := [i for i in range(n) if owner[i] == s])]
    merged = sketch_of(activations, [])
    for shard in data.draw(st.permutations(shards)):
        restored = sketch_of(activations, [])
        restored.restore(shard.state())
        merged.merge(restored)
    same(whole, merged)


def test_maximum_counts_and_tops_are_exact() -> None:
    activations = random_activations(7, 50)
    sketch = sketch_of(activations, [[i] for i in range(50)])
    counted = activations[:, 1:]
    reader = SketchReader(sketch, Contexts.of(50), 10)  # type: ignore[arg-type]
    for u in range(4):
        values = counted[..., u]
        assert reader.maximum[u] == values.max()
        assert reader.counts(u, 10).sum() == (values > 0).sum()
        assert reader.state["histogram"][u, 0] == (values == 0).sum()
        exact = np.histogram(values[values > 0], bins=10, range=(0, float(values.max()) or 1))[0]
        assert np.abs(reader.counts(u, 10) - exact).max() <= max(3, 0.02 * exact.max())
        found = np.sort(reader.state["tops.activation"][reader.tops(u)])[::-1][:5]
        best = counted[..., u].amax(dim=1).sort(descending=True).values[:5].numpy()
        np.testing.assert_array_equal(found, best[best > 0])


def test_a_bin_holds_the_events_of_lowest_priority_in_it() -> None:
    """A sketch of small quota gives the first events of one that kept everything."""
    activations = random_activations(3, 60)
    everything = Quota(explain=10_000, judge=10_000, quiet=10_000, top=60)
    small = SketchReader(sketch_of(activations, [list(range(60))]), Contexts.of(60), 10)  # type: ignore[arg-type]
    full = SketchReader(sketch_of(activations, [list(range(60))], quota=everything), Contexts.of(60), 10)  # type: ignore[arg-type]
    compared = 0
    for u in range(3):
        for side in (EXPLAIN, JUDGE):
            for bin_ in range(11):
                few = small.state["events.token"][small.fair(u, side, bin_)]
                all_ = full.state["events.token"][full.fair(u, side, bin_)]
                assert len(few) >= min(len(all_), QUOTA.explain if side == EXPLAIN else QUOTA.judge)
                np.testing.assert_array_equal(few, all_[: len(few)])
                compared += len(few)
    assert compared > 150


def test_each_event_of_a_bin_is_equally_likely() -> None:
    """Over many seeds, how often an event is drawn does not depend on its activation, document or position."""
    activations = torch.rand(30, T, 1, generator=torch.Generator().manual_seed(0))
    activations[0, 1, 0] = 1.0
    hits = np.zeros(30 * T)
    trials = 400
    for seed in range(trials):
        reader = SketchReader(sketch_of(activations, [list(range(30))], seed=seed), Contexts.of(30), 2)  # type: ignore[arg-type]
        for side in (EXPLAIN, JUDGE):
            hits[reader.state["events.token"][reader.fair(0, side, 1)[:3]]] += 1
    values = activations[..., 0].flatten().numpy()
    inside = (values > 0) & (values <= 0.5) & (np.arange(30 * T) % T != 0)
    assert hits[~inside].sum() == 0
    drawn = hits[inside]
    expected = drawn.mean()
    chi2 = ((drawn - expected) ** 2 / expected).sum()
    n = inside.sum()
    assert abs(chi2 - n) < 5 * np.sqrt(2 * n), f"chi-square {chi2:.0f} for {n} events"
    halves = [drawn[values[inside] <= 0.25].mean(), drawn[values[inside] > 0.25].mean()]
    assert abs(halves[0] - halves[1]) < 0.2 * expected


def test_the_marks_place_tells_nothing_of_the_activation() -> None:
    """A blind judge that sees only where the mark stands cannot tell firing windows from silent ones."""
    activations = random_activations(1, 400)
    quota = Quota(explain=8, judge=8, quiet=300, top=5)
    state = sketch_of(activations, [list(range(400))], quota=quota).state()
    start, active = state["events.start"], state["events.activation"] > 0
    assert len(np.unique(start[active])) == len(np.unique(start[~active])) == WINDOW
    shares = [np.bincount(start[which], minlength=WINDOW) / which.sum() for which in (active, ~active)]
    best_guess = 0.5 + np.abs(shares[0] - shares[1]).sum() / 4
    assert best_guess < 0.54


def test_documents_that_explain_never_judge() -> None:
    activations = random_activations(5, 80)
    reader = SketchReader(sketch_of(activations, [list(range(80))]), Contexts.of(80), 10)  # type: ignore[arg-type]
    sides = []
    for side in (EXPLAIN, JUDGE):
        index = np.concatenate([reader.events(u, side)[0] for u in range(4)])
        tops = np.concatenate([reader.tops(u, side) for u in range(4)])
        sides.append(set(reader.documents["events"][index]) | set(reader.documents["tops"][tops]))
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
