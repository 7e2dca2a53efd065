"""The sketch against brute force: the same sample in any order and any cut, uniform in every bin, exact at the top."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.harvest import bottom_k
from sae.harvest.activation_blocks import DenseBlock, MakeBlock, SparseBlock
from sae.harvest.bins import bin_of
from sae.harvest.bottom_k import HIGHEST, LOWEST, PER_CLUSTER, candidate_rows, lowest_of_group
from sae.harvest.parallel import ForEach, one_by_one, side_by_side
from sae.harvest.sketch import INTERVALS, Quota, Sketch
from sae.harvest.sketch_reader import SketchReader
from sae.harvest.token_positions import EXPLAIN, JUDGE, BatchLayout, hash32, mix

T, WINDOW = 24, 8
PER_DOCUMENT = 2
"""Contexts of a document."""
QUOTA = Quota(explain=3, judge=4, silent=6, top=5)


SILENT = (0, 5)
"""Columns of each context that are not counted."""


@dataclass
class Contexts:
    """Stands in for the corpus."""

    contexts: np.ndarray

    @classmethod
    def of(cls, n: int) -> Contexts:
        kind = [("document", "i8"), ("position", "i4"), ("offset", "i8"), ("length", "i4")]
        return cls(np.array([(i // PER_DOCUMENT, i % PER_DOCUMENT * T, i * T, T) for i in range(n)], dtype=kind))


def blocks(activations: torch.Tensor, counted: torch.Tensor, kind: str, size: int) -> Iterator[MakeBlock]:
    values = activations.reshape(-1, activations.shape[2]).T.contiguous()
    for start in range(0, len(values), size):
        part = values[start : start + size].clone()
        units = torch.arange(start, start + len(part))
        if kind == "dense":
            yield partial(DenseBlock, units, part, torch.zeros(len(part)), counted)
        else:
            keys = part.flatten().nonzero().squeeze(1)
            yield partial(SparseBlock, units, keys, part.flatten()[keys], counted)


def sketch_of(
    activations: torch.Tensor,
    order: list[list[int]],
    *,
    seed: int = 0,
    quota: Quota = QUOTA,
    kind: str = "dense",
    size: int = 3,
    for_each: ForEach = one_by_one,
) -> Sketch:
    sketch = Sketch([f"feature-{u}" for u in range(activations.shape[2])], quota, window=WINDOW, seed=seed)
    for rows in order:
        add_batch(sketch, activations, rows, kind, size, for_each)
    return sketch


def add_batch(
    sketch: Sketch,
    activations: torch.Tensor,
    rows: list[int],
    kind: str = "dense",
    size: int = 3,
    for_each: ForEach = one_by_one,
) -> None:
    counted = torch.ones(len(rows), T, dtype=torch.bool)
    counted[:, SILENT] = False
    where = torch.tensor(rows)
    document, position = where // PER_DOCUMENT, where % PER_DOCUMENT * T
    batch = BatchLayout(counted.flatten(), torch.full((len(rows),), T), document, position, where * T)
    sketch.update(batch, blocks(activations[rows], counted.flatten(), kind, size), for_each)


def random_activations(seed: int, contexts: int, units: int = 4) -> torch.Tensor:
    """Units of very different scale and density; the last one is dead."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(contexts, T, units, generator=generator).abs() ** 2
    keep = torch.rand(contexts, T, units, generator=generator) < torch.tensor([1.0, 0.3, 0.02, 0.0])
    return values * keep * torch.tensor([1e-4, 1.0, 3e5, 1.0])


Kept = set[tuple[int, int, float]]
"""Head, token and activation of kept events."""


def kept(sketch: Sketch) -> tuple[Kept, Kept]:
    state = sketch.state()

    def rows(name: str) -> Kept:
        columns = (state[f"{name}.{field}"].tolist() for field in ("head", "token", "activation"))
        return set(zip(*columns, strict=True))

    return rows("events"), rows("tops")


def reference(activations: torch.Tensor, seed: int) -> tuple[Kept, Kept]:
    """What the sketch is said to keep, event by event."""
    context = torch.arange(len(activations), dtype=torch.int32)
    document, position = context // PER_DOCUMENT, context % PER_DOCUMENT * T
    side = ((mix(document ^ hash32(f"{seed}/side")) >> 8) & 1).tolist()
    place = position.unsqueeze(1) + torch.arange(T, dtype=torch.int32)
    token = mix(mix(document ^ hash32(f"{seed}/token")).unsqueeze(1) + place * 0x1E3779B1)
    events, tops = set(), set()
    for unit in range(activations.shape[2]):
        turned = (token + torch.tensor(hash32(f"{seed}/feature-{unit}"), dtype=torch.int32)).tolist()
        values = activations[..., unit].tolist()
        places = [(c, t) for c in range(len(activations)) for t in range(T) if t not in SILENT]
        largest = max(values[c][t] for c, t in places)
        scale = 2.0 ** math.ceil(math.log2(largest)) if largest else 1.0
        lanes: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
        for c, t in places:
            lane = math.ceil(values[c][t] / scale * INTERVALS)
            lanes.setdefault((side[c], lane), []).append((turned[c][t], c * T + t, values[c][t]))
        for (half, lane), found in lanes.items():
            k = QUOTA.silent if lane == 0 else (QUOTA.explain, QUOTA.judge)[half]
            events |= {
                (2 * unit + half, ordinal, value) for ordinal, value in first_of(sorted(found), k, silent=lane == 0)
            }
        for half in (EXPLAIN, JUDGE):
            best = [
                min((-values[c][t], c * T + t) for d, t in places if d == c)
                for c in set(dict(places))
                if side[c] == half
            ]
            tops |= {(2 * unit + half, ordinal, -value) for value, ordinal in sorted(best)[: QUOTA.top] if value < 0}
    return events, tops


def first_of(found: list[tuple[int, int, float]], k: int, *, silent: bool) -> Iterator[tuple[int, float]]:
    """Token and activation of the events up to the first one of the k-th document, at most `PER_CLUSTER` of each."""
    seen: Counter[int] = Counter()
    for _, ordinal, value in found:
        document = ordinal if silent else ordinal // (T * PER_DOCUMENT)
        seen[document] += 1
        if seen[document] <= PER_CLUSTER:
            yield ordinal, value
        if len(seen) == k:
            return


def same(a: Sketch, b: Sketch) -> None:
    left, right = a.state(), b.state()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.sampled_from(["dense", "sparse"]), st.integers(1, 4))
def test_the_sketch_keeps_the_events_that_brute_force_selects(seed: int, n: int, kind: str, size: int) -> None:
    activations = random_activations(seed, n)
    cuts = [list(part) for part in np.array_split(np.arange(n), 3) if len(part)]
    assert kept(sketch_of(activations, cuts, seed=seed, kind=kind, size=size)) == reference(activations, seed)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30))
def test_sparse_and_dense_blocks_give_the_same_sketch(seed: int, n: int) -> None:
    activations = random_activations(seed, n)
    same(sketch_of(activations, [list(range(n))]), sketch_of(activations, [list(range(n))], kind="sparse", size=2))


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


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.sets(st.integers(1, 39)), st.data())
def test_a_sketch_that_was_saved_in_parts_and_restored_goes_on_as_if_it_never_stopped(
    seed: int, n: int, cuts: set[int], data: st.DataObject
) -> None:
    activations = random_activations(seed, n)
    batches = [rows.tolist() for rows in np.split(np.arange(n), sorted(cuts)) if len(rows)]
    whole = sketch_of(activations, batches)
    with mock.patch.object(bottom_k, "_PENDING", data.draw(st.sampled_from([10, 50_000]))):
        sketch, parts = sketch_of(activations, []), []
        for rows in batches:
            add_batch(sketch, activations, rows)
            if data.draw(st.booleans()):
                parts.append(sketch.unsaved())
            if data.draw(st.integers(0, 3)) == 0:
                totals = sketch.totals()
                parts.append(sketch.unsaved())
                sketch = sketch_of(activations, [])
                sketch.restore(totals, parts)
    same(whole, sketch)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_threads_that_share_a_batch_give_the_same_sketch(
    kind: str, monkeypatch: pytest.MonkeyPatch, three_threads: None
) -> None:
    """While samples are sorted in often, and scales grow."""
    monkeypatch.setattr(bottom_k, "_PENDING", 100)
    activations = torch.cat([random_activations(seed, 60) * 2**seed for seed in range(12)], dim=2)
    order = [list(range(start, start + 6)) for start in range(0, 60, 6)]
    alone = sketch_of(activations, order, kind=kind, size=2)
    with side_by_side(torch.device("cpu")) as for_each:
        together = sketch_of(activations, order, kind=kind, size=2, for_each=for_each)
    same(alone, together)


def test_maximum_counts_and_tops_are_exact() -> None:
    activations = random_activations(7, 50)
    sketch = sketch_of(activations, [[i] for i in range(50)])
    counted = activations[:, [t for t in range(T) if t not in SILENT]]
    reader = SketchReader(sketch, Contexts.of(50), 10)  # type: ignore[arg-type]
    for u in range(4):
        values = counted[..., u]
        assert reader.maximum[u] == values.max()
        assert reader.bin_counts(u, 10).sum() == (values > 0).sum()
        assert sketch.counts[u, 0] == (values == 0).sum()
        exact = np.bincount(bin_of(values.flatten().numpy(), reader.maximum[u], 10), minlength=11)[1:]
        np.testing.assert_array_equal(reader.bin_counts(u, 10), exact)
        found = np.sort(reader.state["tops.activation"][reader.top_events(u)])[::-1][:5]
        best = counted[..., u].amax(dim=1).sort(descending=True).values[:5].numpy()
        np.testing.assert_array_equal(found, best[best > 0])


def test_a_bin_holds_the_events_of_lowest_priority_in_it() -> None:
    """A sketch of small quota gives the first events of one that kept everything."""
    activations = random_activations(3, 60)
    everything = Quota(explain=10_000, judge=10_000, silent=10_000, top=60)
    small = SketchReader(sketch_of(activations, [list(range(60))]), Contexts.of(60), 10)  # type: ignore[arg-type]
    full = SketchReader(sketch_of(activations, [list(range(60))], quota=everything), Contexts.of(60), 10)  # type: ignore[arg-type]
    compared = wanted = 0
    for u in range(3):
        for side in (EXPLAIN, JUDGE):
            for bin_ in range(11):
                few = small.state["events.token"][small.early_events(u, side, bin_)]
                all_ = full.state["events.token"][full.early_events(u, side, bin_)]
                wanted += min(len(all_), QUOTA.explain if side == EXPLAIN else QUOTA.judge)
                np.testing.assert_array_equal(few, all_[: len(few)])
                compared += len(few)
    # A lane that straddles a bin's edge may give the bin fewer than it keeps.
    assert compared > wanted > 100


def test_each_event_of_a_bin_is_equally_likely() -> None:
    """Over many seeds, how often an event is drawn does not depend on its activation, document or position."""
    activations = torch.rand(30, T, 1, generator=torch.Generator().manual_seed(0))
    activations[0, 1, 0] = 1.0
    hits = np.zeros(30 * T)
    trials = 400
    for seed in range(trials):
        reader = SketchReader(sketch_of(activations, [list(range(30))], seed=seed), Contexts.of(30), 2)  # type: ignore[arg-type]
        for side in (EXPLAIN, JUDGE):
            hits[reader.state["events.token"][reader.early_events(0, side, 1)[:3]]] += 1
    values = activations[..., 0].flatten().numpy()
    inside = (bin_of(values, values.max(), 2) == 1) & ~np.isin(np.arange(30 * T) % T, SILENT)
    assert hits[~inside].sum() == 0
    drawn = hits[inside]
    expected = drawn.mean()
    chi2 = ((drawn - expected) ** 2 / expected).sum()
    n = inside.sum()
    assert abs(chi2 - n) < 5 * np.sqrt(2 * n), f"chi-square {chi2:.0f} for {n} events"
    halves = [drawn[values[inside] <= 0.25].mean(), drawn[values[inside] > 0.25].mean()]
    assert abs(halves[0] - halves[1]) < 0.2 * expected


def test_the_place_of_the_mark_does_not_reveal_the_activation() -> None:
    """A blind judge that sees only where the mark stands cannot tell firing windows from silent ones."""
    activations = random_activations(1, 400)
    quota = Quota(explain=8, judge=8, silent=300, top=5)
    state = sketch_of(activations, [list(range(400))], quota=quota).state()
    start, active = state["events.start"], state["events.activation"] > 0
    assert len(np.unique(start[active])) == len(np.unique(start[~active])) == WINDOW
    shares = [np.bincount(start[which], minlength=WINDOW) / which.sum() for which in (active, ~active)]
    best_guess = 0.5 + np.abs(shares[0] - shares[1]).sum() / 4
    assert best_guess < 0.54


def test_no_document_both_explains_and_judges() -> None:
    activations = random_activations(5, 80)
    reader = SketchReader(sketch_of(activations, [list(range(80))]), Contexts.of(80), 10)  # type: ignore[arg-type]
    sides = []
    for side in (EXPLAIN, JUDGE):
        index = np.concatenate([np.arange(len(reader.bin["events"]))[reader.event_range(u, side)] for u in range(4)])
        tops = np.concatenate([reader.top_events(u, side) for u in range(4)])
        sides.append(set(reader.documents["events"][index]) | set(reader.documents["tops"][tops]))
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


def silent_tokens(seed: int, n: int, units: int) -> np.ndarray:
    """Silent exemplars (units, 2 * quiet) of units that are silent but once."""
    activations = torch.zeros(n, T, units)
    activations[0, 1] = 1.0
    state = sketch_of(activations, [list(range(n))], seed=seed, size=64).state()
    token: np.ndarray = state["events.token"][state["events.activation"] == 0].reshape(units, -1)
    return token


def test_each_silent_event_is_equally_likely() -> None:
    n, trials = 30, 300
    hits = np.zeros(n * T)
    for seed in range(trials):
        hits[silent_tokens(seed, n, 1)] += 1
    inside = ~np.isin(np.arange(n * T) % T, SILENT) & (np.arange(n * T) != 1)
    assert hits[~inside].sum() == 0
    # Sides are documents' and not equally many, so that tokens are compared with others of their document.
    drawn = hits[inside & (np.arange(n * T) >= T)].reshape(n - 1, -1)
    expected = drawn.mean(axis=1, keepdims=True)
    chi2 = ((drawn - expected) ** 2 / expected).sum()
    free = drawn.size - len(drawn)
    assert abs(chi2 - free) < 5 * np.sqrt(2 * free), f"chi-square {chi2:.0f} for {free} degrees of freedom"


def test_units_share_no_more_silent_events_than_independent_draws_would() -> None:
    n, n_units = 60, 300
    shared = np.zeros((n_units, n * T))
    token = silent_tokens(0, n, n_units)
    np.put_along_axis(shared, token, 1, axis=1)
    overlap = (shared @ shared.T)[~np.eye(n_units, dtype=bool)].mean()
    tokens_a_side = n * (T - len(SILENT)) / 2
    assert 0.8 < overlap / (2 * QUOTA.silent**2 / tokens_a_side) < 1.25


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 600), st.integers(1, 5), st.sampled_from([3, 20, 10**9]), st.booleans())
def test_candidate_rows_include_the_k_lowest_clusters_of_each_group(
    seed: int, n: int, groups: int, clusters: int, skewed: bool
) -> None:
    """Even if there are too few clusters, or priorities are not even at all."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (n,), generator=generator)
    k = torch.randint(0, 9, (groups,), generator=generator, dtype=torch.int32)
    priority = torch.randint(LOWEST, HIGHEST, (n,), generator=generator, dtype=torch.int32)
    if skewed:
        priority = priority.abs() // 2 + HIGHEST // 2
    cluster = torch.randint(-1, clusters, (n,), generator=generator)
    left = candidate_rows(group, cluster, priority, k, torch.full((groups,), HIGHEST, dtype=torch.int32))
    kept = left[lowest_of_group(group[left], cluster[left], priority[left], left, k)]
    assert torch.equal(kept, lowest_of_group(group, cluster, priority, torch.arange(n), k))
    if n == 600 and clusters > 20 and not skewed:
        assert len(left) < n
