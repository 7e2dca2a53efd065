"""One pass over all units against every activation in memory: statistics, the strongest, samples, and the same in any cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.sae import whole_dictionary
from support.sae.whole_dictionary import QUOTA, Whole

from sae.explorer.statistics import statistics
from sae.explorer.whole_sketch import WholeSketch, is_sampled
from sae.harvest import harvest
from sae.harvest.bins import bin_of
from sae.harvest.sketch import Sketch

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["topk", "jumprelu", "relu", "groupmax", "transcoder"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_dictionary.make(tmp_path_factory.mktemp("whole"), request.param)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_dictionary.make(tmp_path_factory.mktemp("small"), documents=30)


def test_statistics_are_those_of_all_activations(whole: Whole) -> None:
    activations, counted, _ = whole.everything
    sketch = whole.sketch
    cells = sketch.histogram.sum(dim=1)[:, 1:].numpy()
    found = statistics(cells, sketch.maximum.numpy(), sketch.total.numpy(), sketch.n_counted, 40)
    events = (activations > 0).sum(axis=1)
    assert sketch.n_counted == counted.sum()
    assert np.abs(found.events - events).max() <= 1  # an activation may lie on the threshold
    assert np.allclose(found.maximum, activations.max(axis=1), atol=1e-5)
    assert np.allclose(found.mean, activations.sum(axis=1) / np.maximum(events, 1), rtol=1e-3, atol=1e-6)
    assert np.allclose(found.density, events / counted.sum(), atol=1e-3)
    for unit in range(0, len(activations), 7):
        active = activations[unit][activations[unit] > 0]
        true = np.bincount(bin_of(active, activations[unit].max(), 40) - 1, minlength=40)
        assert np.abs(np.cumsum(true) - np.cumsum(found.histogram[unit])).max() <= 1 + 0.01 * len(active)


def test_the_sample_of_tokens_has_all_active_features_and_all_neurons(whole: Whole) -> None:
    activations, counted, neurons = whole.everything
    plan = whole.plan()
    found = whole.sketch.sample()
    ordinal = np.arange(whole.corpus.n_tokens)
    drawn = is_sampled(torch.from_numpy(ordinal), plan.sampled).numpy() & counted
    features = activations[: whole.dictionary.d_sae].copy()
    features[:, ~drawn] = 0
    dense = np.zeros_like(features)
    dense[found["active.unit"], found["active.token"]] = found["active.value"]
    assert np.allclose(dense, features, atol=1e-4)
    assert 0.4 < drawn.sum() / counted.sum() < 0.6
    half = is_sampled(torch.from_numpy(ordinal), plan.neuron_sampled).numpy() & counted
    assert found["neurons.token"].tolist() == ordinal[half].tolist()
    assert np.allclose(found["neurons.values"], neurons[half], atol=1e-2)
    assert set(found["neurons.token"]) <= set(ordinal[drawn])


def test_shards_and_their_order_change_nothing(small: Whole) -> None:
    plan = small.plan(batch_tokens=64)
    one, cut = small.read(plan), small.read(plan, shard_tokens=1)
    assert equal(one, cut)


def test_a_sketch_saved_in_parts_is_the_same_when_restored(small: Whole) -> None:
    plan, parts = small.plan(batch_tokens=64), list[dict[str, np.ndarray]]()
    reading = small.reading(plan)
    sketch = reading.sketch
    for shard in harvest.shards(small.corpus, 1, plan.batch_tokens):
        harvest.read_shard([reading], small.corpus, shard, lambda done: parts.append(sketch.unsaved()))
    assert len(parts) > 10
    again = small.new_sketch(plan)
    again.restore(sketch.totals(), parts)
    whole = small.new_sketch(plan)
    whole.restore(again.state())
    assert equal(again, whole)
    assert equal(again, small.read(plan))


def test_the_strongest_event_of_each_context_is_kept_first(whole: Whole) -> None:
    activations, _, _ = whole.everything
    sketch = whole.sketch
    state = Sketch.state(sketch)
    cuts = np.cumsum(whole.corpus.contexts["length"])[:-1]
    for unit in range(0, len(activations), 11):
        best = sorted((part.max() for part in np.split(activations[unit], cuts)), reverse=True)[: QUOTA.top]
        found = np.sort(state["tops.activation"][state["tops.head"] == 2 * unit])[::-1]
        assert np.allclose(found, [b for b in best if b > 0], atol=1e-5)


def equal(one: WholeSketch, other: WholeSketch) -> bool:
    states = [Sketch.state(sketch) | sketch.sample() for sketch in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        if name == "total":
            assert np.allclose(array, states[1][name], rtol=1e-9)
        else:
            assert np.array_equal(array, states[1][name]), name
    return True
