"""One harvest, many workers: whatever they do, and however often, the tables are the same to the last bit."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.planted_world import world as planted
from support.services import harvest_worker

import sae.harvest.harvest
from autointerp.errors import UsageError
from autointerp.harvest import finished, merge, sampling, shards
from autointerp.harvest import plan as plan_
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.harvest.merge import harvest, merge_harvest
from autointerp.harvest.plan import Interrupted, SharedPlan
from autointerp.harvest.shards import begin_harvest, harvest_shard
from autointerp.progress import quiet
from autointerp.spec.spec import Spec

pytestmark = pytest.mark.usefixtures("one_thread")

BATCH = 128
SHARDS = {1: 1 << 18, 2: 8192, 4: 4096}
"""Tokens in a shard, by how many shards that makes of the world."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    """A planted world whose blocks are no longer passed by, and whose documents differ in length: so do batches, and rounding."""
    world = planted.make(tmp_path_factory.mktemp("sharding") / "world", documents=270)
    rng = random.Random(4)
    words = [json.loads(line)["text"].split(" ") for line in world.corpus.read_text().splitlines()]
    cut = [" ".join(text[: rng.randint(6, len(text))]) for text in words]
    world.corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in cut))
    weights = world.subject / "model.safetensors"
    tensors = load_file(weights)
    generator = torch.Generator().manual_seed(3)
    for name, tensor in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.05
    save_file(tensors, weights, {"format": "pt"})
    return world


def spec_of(world: planted.World, n_shards: int, **harvest: Any) -> Spec:
    cut = {"window_tokens": 16, "batch_tokens": BATCH, "shard_tokens": SHARDS[n_shards]}
    few = {"feature_ids": list(range(8)), "neuron_ids": [f"{i}+" for i in range(8)]}
    return world.spec(units=few, harvest=cut | harvest)


def opened(world: planted.World, n_shards: int, **harvest: Any) -> Inputs:
    return open_inputs(spec_of(world, n_shards, **harvest), quiet)


@pytest.fixture(scope="module")
def whole(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The harvest's folder as one process leaves it."""
    return harvest(opened(world, 1), Artifacts(tmp_path_factory.mktemp("whole")), quiet)


def assert_same(found: Path, expected: Path) -> None:
    for name in ("units.parquet", "exemplars.parquet"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert len(pd.read_parquet(found / "exemplars.parquet")) > 500


# Any cut, any order, any repetition


@pytest.mark.parametrize(
    ("n_shards", "seed"), [(4, 2), *(pytest.param(*cut, marks=pytest.mark.slow) for cut in [(1, 0), (2, 1), (4, 3)])]
)
def test_shards_read_in_any_order_and_some_twice_give_the_same_tables(
    world: planted.World, whole: Path, tmp_path: Path, n_shards: int, seed: int
) -> None:
    inputs, artifacts, rng = opened(world, n_shards), Artifacts(tmp_path), random.Random(seed)
    plan = begin_harvest(inputs, artifacts)
    assert plan.shards == n_shards
    numbers = list(range(n_shards)) + rng.choices(range(n_shards), k=2)
    rng.shuffle(numbers)
    for number in numbers:
        artifacts.remove(plan.shard(number))
        harvest_shard(inputs, artifacts, plan, number, quiet)
    folder = merge_harvest(inputs, artifacts, plan, quiet)
    assert_same(folder, whole)
    assert artifacts.list(plan.name("shard-")) == []
    assert sorted(p.name for p in folder.iterdir()) == [
        "exemplars.parquet", "facts.json", "plan.json", "studies-65536.json", "token-effects-1.parquet", "units.parquet",
    ]  # fmt: skip


def test_shards_merged_in_any_order_give_the_same_sketch(world: planted.World, tmp_path: Path) -> None:
    inputs, artifacts = opened(world, 4), Artifacts(tmp_path)
    plan = begin_harvest(inputs, artifacts)
    for number in range(plan.shards):
        harvest_shard(inputs, artifacts, plan, number, quiet)
    expected, _ = merge.merge_shards(inputs, artifacts, plan)
    reading = sampling.harvest_plan(inputs, plan)
    for seed in range(5):
        found = sae.harvest.harvest.new_sketch(reading)
        for number in random.Random(seed).sample(range(4), 4):
            found.merge(sae.harvest.harvest.restore(artifacts.read(plan.shard(number)), reading, "cpu")[0])
        left, right = expected.state(), found.state()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def test_batches_of_other_shapes_round_differently(world: planted.World, whole: Path, tmp_path: Path) -> None:
    """Guards the tests above: were rounding the same in every batch, they would not notice where batches are cut."""
    other = harvest(opened(world, 1, batch_tokens=4096), Artifacts(tmp_path), quiet)
    assert (other / "exemplars.parquet").read_bytes() != (whole / "exemplars.parquet").read_bytes()


@pytest.mark.parametrize("batch_tokens", [128, 300, 4096])
@pytest.mark.parametrize("shard_tokens", [1024, 10_000, 1 << 20])
def test_shards_are_runs_of_the_same_blocks(world: planted.World, batch_tokens: int, shard_tokens: int) -> None:
    corpus = opened(world, 1).corpus
    cut = sae.harvest.harvest.shards(corpus, shard_tokens, batch_tokens)
    [uncut] = sae.harvest.harvest.shards(corpus, 1 << 30, batch_tokens)
    blocks = [rows.tolist() for shard in cut for rows in shard]
    assert blocks == [rows.tolist() for rows in uncut]
    assert [row for rows in blocks for row in rows] == list(range(len(corpus.contexts)))
    sizes = [sae.harvest.harvest.n_tokens(corpus, shard) for shard in cut]
    assert sum(sizes) == corpus.n_tokens
    assert max(sizes) <= shard_tokens + 2 * sae.harvest.harvest.BLOCK_BATCHES * batch_tokens


# Several processes, and death


@pytest.fixture
def start(world: planted.World, tmp_path: Path) -> Iterator[Callable[..., ForkServerProcess]]:
    """Starts a worker on 4 shards of the world; its artifacts lie in `tmp_path`."""
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_of(world, 4).to_toml())
    started: list[ForkServerProcess] = []

    def worker(numbers: list[int], pause_s: float = 0.0) -> ForkServerProcess:
        started.append(harvest_worker.start_worker(spec, tmp_path, numbers, pause_s))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.join()


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_shards_of_a_killed_worker_are_kept_and_the_rest_are_read(
    start: Callable[..., ForkServerProcess], whole: Path, tmp_path: Path
) -> None:
    process = start(list(range(4)), 0.01)
    wait_for(lambda: len(list(tmp_path.glob("harvest-*/shard-*.npz"))) >= 2)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("harvest-*/shard-*.npz")}
    assert 2 <= len(kept) < 4
    second = start([3, 2, 1, 0], 0.01)
    wait_for(lambda: len(list(tmp_path.glob("harvest-*/shard-*.npz"))) >= 3)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished shard was read again"
    second.join(60)
    assert second.exitcode == 0
    assert_same(next(tmp_path.glob("harvest-*/facts.json")).parent, whole)


@pytest.mark.slow
def test_two_processes_read_the_same_shards_at_once(
    start: Callable[..., ForkServerProcess], whole: Path, tmp_path: Path
) -> None:
    workers = [start([0, 1, 2, 3]), start([0, 1, 2, 3]), start([3, 2, 1, 0])]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    folder = next(tmp_path.glob("harvest-*/facts.json")).parent
    assert_same(folder, whole)
    assert len(list(folder.iterdir())) == 6, "nothing but the plan, the harvest and its side files"


def test_of_workers_that_begin_at_once_the_first_one_s_plan_holds(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, artifacts, n = opened(world, 2), Artifacts(tmp_path), 6
    together = threading.Barrier(n)
    monkeypatch.setattr(sae.harvest.harvest, "norm_limit", lambda *_: 100.0 + together.wait())
    monkeypatch.setattr(shards, "measure_fit", lambda *_: None)  # workers share no subject, as these threads do
    plans: list[SharedPlan] = []
    threads = [threading.Thread(target=lambda: plans.append(begin_harvest(inputs, artifacts))) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plans) == n
    assert len(set(plans)) == 1
    monkeypatch.setattr(sae.harvest.harvest, "norm_limit", lambda *_: pytest.fail("the plan was there"))
    assert begin_harvest(inputs, artifacts) == plans[0] == plan_.read_plan(artifacts, plans[0].key)


# What a worker refuses, and how it stops


def test_the_plan_s_shards_and_limit_hold_for_workers_with_other_settings(
    world: planted.World, whole: Path, tmp_path: Path
) -> None:
    artifacts = Artifacts(tmp_path)
    plan = begin_harvest(opened(world, 2), artifacts)
    other = opened(world, 4, batch_tokens=512)
    assert begin_harvest(other, artifacts) == plan
    for number in range(2):
        harvest_shard(other, artifacts, plan, number, quiet)
    assert_same(merge_harvest(other, artifacts, plan, quiet), whole)


def test_a_stopping_worker_ends_between_batches_and_leaves_a_checkpoint(world: planted.World, tmp_path: Path) -> None:
    inputs, artifacts = opened(world, 2), Artifacts(tmp_path)
    plan = begin_harvest(inputs, artifacts)
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(Interrupted):
        harvest_shard(inputs, artifacts, plan, 1, quiet, stopping)
    assert len(asked) == 5
    [head, part] = sorted(artifacts.list(plan.name("checkpoint-00001")), key=len)
    assert sorted(artifacts.list("")) == sorted([head, part, plan.name("plan.json")])
    assert shards.missing_shards(artifacts, plan) == [0, 1]


def test_the_error_of_a_merge_names_the_missing_shards(world: planted.World, tmp_path: Path) -> None:
    inputs, artifacts = opened(world, 4), Artifacts(tmp_path)
    plan = begin_harvest(inputs, artifacts)
    for number in (0, 2):
        harvest_shard(inputs, artifacts, plan, number, quiet)
    with pytest.raises(UsageError, match=r"lacks 2 of its 4 shards \(1, 3\)") as caught:
        merge_harvest(inputs, artifacts, plan, quiet)
    assert "\n" not in str(caught.value)
    assert finished.finished_harvest(artifacts, plan.key) is None


def test_a_shard_that_is_read_after_the_merge_is_removed(
    world: planted.World, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, artifacts = opened(world, 2), Artifacts(tmp_path)
    plan = begin_harvest(inputs, artifacts)
    merged: list[Path] = []

    def others_finish() -> bool:
        if not merged:
            for number in range(2):
                harvest_shard(inputs, artifacts, plan, number, quiet)
            merged.append(merge_harvest(inputs, artifacts, plan, quiet))
        return False

    harvest_shard(inputs, artifacts, plan, 1, quiet, others_finish)
    assert artifacts.list(plan.name("shard-")) == []
    monkeypatch.setattr(sae.harvest.harvest, "read_shard", lambda *_: pytest.fail("read again"))
    harvest_shard(inputs, artifacts, plan, 0, quiet)
    assert_same(merge_harvest(inputs, artifacts, plan, quiet), whole)


def test_workers_with_other_files_are_refused(world: planted.World, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    plan = begin_harvest(opened(world, 2), artifacts)
    other = planted.make(tmp_path / "other", documents=20, seed=9)
    for act in (
        lambda: harvest_shard(opened(other, 2), artifacts, plan, 0, quiet),
        lambda: merge_harvest(opened(other, 2), artifacts, plan, quiet),
    ):
        with pytest.raises(UsageError, match=rf"the plan is harvest-{plan.key}") as caught:
            act()
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"plan\.json is not in"):
        plan_.read_plan(artifacts, "0" * 16)


def test_the_plan_s_precision_holds_on_machines_where_auto_chooses_another(
    world: planted.World, tmp_path: Path
) -> None:
    spec, artifacts = spec_of(world, 2), Artifacts(tmp_path)
    plan = begin_harvest(open_inputs(spec, quiet, precision="bfloat16"), artifacts)
    assert plan.precision == "bfloat16"
    with pytest.raises(UsageError, match="precision"):
        harvest_shard(open_inputs(spec, quiet), artifacts, plan, 0, quiet)
    harvest_shard(open_inputs(spec, quiet, precision=plan.precision), artifacts, plan, 0, quiet)
    assert shards.missing_shards(artifacts, plan) == [1]
