"""A shard whose reading breaks off anywhere continues from its checkpoint, and is the same to the last bit."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.planted_world import world as planted
from support.services import harvest_worker

import sae.harvest.harvest
from autointerp.harvest import checkpoints
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.harvest.merge import harvest
from autointerp.harvest.plan import Interrupted, SharedPlan
from autointerp.harvest.shards import PlannedInputs, begin_harvest, harvest_shard
from autointerp.progress import quiet
from autointerp.spec.spec import Spec

pytestmark = pytest.mark.usefixtures("one_thread")

BATCH_S = 8.0
"""Seconds of a batch on the tests' clock: the third one after a checkpoint is the last that need not be repeated."""
EVERY = 3


class Killed(Exception):
    """Stands in for `kill -9` between two batches."""


class Reading:
    """Counts the batches that were read, on a clock of its own, and breaks off after `left` of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches, self.left = 0, 10**9
        self._add = sae.harvest.harvest._add_batch
        monkeypatch.setattr(sae.harvest.harvest, "_add_batch", self._count)
        clock = SimpleNamespace(monotonic=lambda: self.batches * BATCH_S, perf_counter=time.perf_counter)
        monkeypatch.setattr(checkpoints, "time", clock)

    def _count(self, *arguments: Any) -> None:
        if not self.left:
            raise Killed
        self._add(*arguments)
        self.batches += 1
        self.left -= 1


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(monkeypatch)


def spec_of(world: planted.World, features: int = 8, **controls: bool) -> Spec:
    units = {"feature_ids": list(range(features)), "neuron_ids": [f"{i}+" for i in range(8)]}
    harvest_ = {"window_tokens": 16, "batch_tokens": 128}
    return world.spec(units=units, harvest=harvest_, dictionary={"check": False}, controls=controls)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("checkpoints") / "world", documents=60)


@pytest.fixture(scope="module")
def inputs(world: planted.World) -> Inputs:
    return open_inputs(spec_of(world), quiet)


def arrays(artifacts: Artifacts, plan: SharedPlan) -> dict[str, np.ndarray]:
    """The shard's file, without the time that reading took."""
    with np.load(artifacts.read(plan.shard(0))) as saved:
        return {name: saved[name] for name in saved if name != "seconds"}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


@pytest.fixture(scope="module")
def plan(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> SharedPlan:
    plan = begin_harvest(inputs, Artifacts(tmp_path_factory.mktemp("plan")))
    assert plan.shards == 1
    return plan


@pytest.fixture(scope="module")
def whole(inputs: Inputs, plan: SharedPlan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    artifacts = Artifacts(tmp_path_factory.mktemp("whole"))
    harvest_shard(inputs, artifacts, plan, 0, quiet)
    assert artifacts.list(plan.name("checkpoint-")) == []
    return arrays(artifacts, plan)


def read_until(
    reading: Reading, batches: int, read: list[int], inputs: Inputs, artifacts: Artifacts, plan: SharedPlan
) -> bool:
    """Read the shard until so many batches are done. Returns whether it was finished before."""
    reading.left = batches
    try:
        harvest_shard(inputs, artifacts, plan, 0, lambda _, done, __: read.append(done))
    except Killed:
        return False
    return True


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 25), min_size=1, max_size=4))
def test_a_reading_that_is_killed_anywhere_repeats_at_most_the_time_between_checkpoints(
    reading: Reading,
    inputs: Inputs,
    plan: SharedPlan,
    whole: dict[str, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
    lives: list[int],
) -> None:
    artifacts = Artifacts(tmp_path_factory.mktemp("killed"))
    read: list[list[int]] = []
    for batches in [*lives, 10**9]:
        read.append([])
        if read_until(reading, batches, read[-1], inputs, artifacts, plan):
            break
    assert_same(arrays(artifacts, plan), whole)
    assert artifacts.list("") == [plan.shard(0)]
    for life, tokens in enumerate(read):
        done = max((tokens for earlier in read[:life] for tokens in earlier), default=0)
        assert sum(n <= done for n in tokens) * BATCH_S <= checkpoints.INTERVAL_S


@pytest.mark.parametrize("root", ["{}", "memory://{}"])
def test_another_process_continues_from_shared_storage(
    reading: Reading, inputs: Inputs, whole: dict[str, np.ndarray], plan: SharedPlan, tmp_path: Path, root: str
) -> None:
    at = root.format(tmp_path)
    assert not read_until(reading, 10, [], inputs, Artifacts(at), plan)
    reading.left, reading.batches = 10**9, 0
    harvest_shard(inputs, Artifacts(at), plan, 0, quiet)
    continued, reading.batches = reading.batches, 0
    assert_same(arrays(Artifacts(at), plan), whole)
    assert Artifacts(at).list(plan.name("checkpoint-")) == []
    Artifacts(at).remove(plan.shard(0))
    harvest_shard(inputs, Artifacts(at), plan, 0, quiet)
    assert reading.batches - continued == 10 // EVERY * EVERY


def test_a_worker_that_is_told_to_stop_repeats_nothing(
    reading: Reading, inputs: Inputs, plan: SharedPlan, whole: dict[str, np.ndarray], tmp_path: Path
) -> None:
    artifacts = Artifacts(tmp_path)
    with pytest.raises(Interrupted):
        harvest_shard(inputs, artifacts, plan, 0, quiet, lambda: reading.batches == 4)
    seen: list[int] = []
    harvest_shard(inputs, artifacts, plan, 0, lambda _, done, __: seen.append(done))
    assert reading.batches == 4 + len(seen)
    assert_same(arrays(artifacts, plan), whole)


def test_harvests_that_share_a_pass_continue_each_from_its_own_checkpoint(
    reading: Reading,
    world: planted.World,
    inputs: Inputs,
    plan: SharedPlan,
    whole: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    artifacts, other = Artifacts(tmp_path), open_inputs(spec_of(world, features=5), quiet)
    other_plan = begin_harvest(other, artifacts)
    harvest_shard(other, artifacts, other_plan, 0, quiet)
    expected, needed = arrays(artifacts, other_plan), reading.batches
    artifacts.remove(other_plan.shard(0))
    assert not read_until(reading, 7, [], inputs, artifacts, plan)
    reading.left, reading.batches = 10**9, 0
    harvest_shard(inputs, artifacts, plan, 0, quiet, also=[PlannedInputs(other, other_plan)])
    assert reading.batches == needed
    assert_same(arrays(artifacts, plan), whole)
    assert_same(arrays(artifacts, other_plan), expected)
    assert artifacts.list(plan.name("checkpoint-")) == artifacts.list(other_plan.name("checkpoint-")) == []


def test_the_pass_of_a_control_continues_from_its_checkpoint(
    reading: Reading, world: planted.World, tmp_path: Path
) -> None:
    inputs = open_inputs(spec_of(world, random_subject=True), quiet)
    expected = harvest(inputs, Artifacts(tmp_path / "whole"), quiet)
    needed, reading.batches = reading.batches // 2, 0
    artifacts = Artifacts(tmp_path / "killed")
    for left in (needed + 10, 7, 10**9):
        reading.left = left
        with suppress(Killed):
            found = harvest(inputs, artifacts, quiet)
    assert reading.batches == 2 * needed + 10 % EVERY + 7 % EVERY
    for path in expected.glob("*.parquet"):
        assert (found / path.name).read_bytes() == path.read_bytes(), path.name
    assert artifacts.list(f"{found.name}/random_subject") == sorted(
        f"{found.name}/{path.name}" for path in expected.glob("random_subject*")
    )


@pytest.mark.parametrize("damage", ["version", "truncated", "part is missing"])
def test_a_checkpoint_of_another_version_or_damaged_is_said_and_not_used(
    reading: Reading,
    inputs: Inputs,
    plan: SharedPlan,
    whole: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    artifacts = Artifacts(tmp_path)
    assert not read_until(reading, 10, [], inputs, artifacts, plan)
    head, *parts = sorted(artifacts.list(plan.name("checkpoint-")), key=len)
    assert len(parts) == 10 // EVERY
    if damage == "version":
        monkeypatch.setattr(checkpoints, "VERSION", checkpoints.VERSION + 1)
    elif damage == "truncated":
        (tmp_path / head).write_bytes((tmp_path / head).read_bytes()[:1000])
    else:
        artifacts.remove(parts[1])
    said: list[str] = []
    reading.left = 10**9
    harvest_shard(inputs, artifacts, plan, 0, lambda phase, *_: said.append(phase))
    assert said[0] == "shard 0: its checkpoint is of another version or damaged: reading it all"
    assert set(said[1:]) == {"harvesting"}
    assert_same(arrays(artifacts, plan), whole)
    assert artifacts.list(plan.name("checkpoint-")) == []


# A real process, really killed


@pytest.fixture
def start(world: planted.World, tmp_path: Path) -> Iterator[Callable[[], ForkServerProcess]]:
    """Starts a worker that reads the shard slowly, and writes checkpoints often."""
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_of(world).to_toml())
    started: list[ForkServerProcess] = []

    def worker() -> ForkServerProcess:
        started.append(harvest_worker.start_worker(spec, tmp_path, [0], 0.1, checkpoint_s=0.3, log=tmp_path / "log"))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.join()


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_the_same_exemplars(
    start: Callable[[], ForkServerProcess], inputs: Inputs, tmp_path: Path
) -> None:
    expected = harvest(inputs, Artifacts(tmp_path / "whole"), quiet)
    log, rng, kills = tmp_path / "log", random.Random(7), 0
    while not list(tmp_path.glob("harvest-*/facts.json")):
        size, process = log.stat().st_size if log.exists() else 0, start()
        while process.is_alive() and (not log.exists() or log.stat().st_size == size):
            time.sleep(0.01)
        process.join(rng.uniform(0.0, 1.5) if kills < 10 else 120)
        kills += process.is_alive()
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    assert kills == 10
    found = next(tmp_path.glob("harvest-*/facts.json")).parent
    for name in ("units.parquet", "exemplars.parquet"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    lives = [[int(done) for done in life.split()] for life in log.read_text().split("began\n")]
    for earlier, later in pairwise(filter(None, lives)):
        assert sum(done <= earlier[-1] for done in later) <= 4, "more than the batches of 0.3 s were repeated"
