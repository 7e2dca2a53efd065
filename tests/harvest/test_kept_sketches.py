"""A spec that asks for more or fewer exemplars of the same activations reads nothing, and gets those of a harvest of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.planted_world import world as planted

from autointerp.harvest import merge, sampling
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.harvest.merge import harvest
from autointerp.harvest.shards import begin_harvest, harvest_shard, kept_sketch
from autointerp.progress import quiet
from autointerp.spec.spec import Spec
from sae.harvest import harvest as reading
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

TABLES = ("units.parquet", "exemplars.parquet")
OTHERS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "fewer judged": {"score": {"per_bin": 2}},
    "as many judged as there is room for": {"score": {"per_bin": sampling.ROOM.judge - 1}},
    "more explained": {"explain": {"top": 12, "spread": 16, "quiet": 12, "min_exemplars": 3}},
    "other bins": {"harvest": {"bins": 5, "top": 24}},
    "more silent windows": {"score": {"also": ["sort"]}, "explain": {"quiet": 9}},
}
AIDS = {"compare": ["contrast", "neighbours", "logits", "revise"]}
"""What makes the explainer's side files."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("kept") / "world", documents=120)


def spec_of(world: planted.World, **sections: Mapping[str, Any]) -> Spec:
    harvest_ = {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192}
    fixed: dict[str, Mapping[str, Any]] = {
        "units": {"feature_ids": list(range(6)), "neuron_ids": ["0+", "1-", "2+"]},
        "harvest": harvest_ | dict(sections.get("harvest", {})),
        "studies": {"tokens": 2000},
        "controls": {"random_dictionary": True, "neighbours": 6} | dict(sections.get("controls", {})),
    }
    return world.spec(**(dict(sections) | fixed))


def opened(world: planted.World, **sections: Mapping[str, Any]) -> Inputs:
    return open_inputs(spec_of(world, **sections), quiet)


@pytest.fixture(scope="module")
def artifacts(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """With a harvest by default."""
    artifacts = Artifacts(tmp_path_factory.mktemp("artifacts"))
    harvest(opened(world), artifacts, quiet)
    return artifacts


def contents(folder: Path) -> dict[str, bytes]:
    """The tables of a harvest, of its random units and of windows beside it, and its studies."""
    return {
        path.name: path.read_bytes() for path in folder.glob("*") if path.match("*.parquet") or path.match("studies-*")
    }


def counted_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the number of sketches with every batch that is read."""
    read, add = list[int](), reading._add_batch

    def counted(readings: Sequence[reading.Reading], *rest: Any) -> None:
        read.append(len(readings))
        add(readings, *rest)

    monkeypatch.setattr(reading, "_add_batch", counted)
    return read


@pytest.mark.parametrize("other", OTHERS)
def test_another_number_of_exemplars_is_drawn_without_reading_as_a_harvest_of_its_own_would(
    world: planted.World, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    inputs = opened(world, **OTHERS[other])
    expected = contents(harvest(inputs, Artifacts(tmp_path), quiet))
    monkeypatch.setattr(Subject, "run", None)
    found = harvest(inputs, artifacts, quiet)
    assert contents(found) == expected
    assert set(TABLES) < expected.keys()
    assert len(pd.read_parquet(found / "exemplars.parquet")) > 100


def test_another_number_of_judged_exemplars_reads_no_windows_of_neighbours_and_for_the_explainer(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, inputs = Artifacts(tmp_path / "shared"), opened(world, explain=AIDS, score={"per_bin": 2})
    expected = contents(harvest(inputs, Artifacts(tmp_path / "own"), quiet))
    first = contents(harvest(opened(world, explain=AIDS), artifacts, quiet))
    monkeypatch.setattr(Subject, "run", None)
    assert contents(harvest(inputs, artifacts, quiet)) == expected
    [windows] = (name for name in expected if name.startswith("aids-") and name.endswith("-windows.parquet"))
    assert first[windows] == expected[windows]
    assert len(pd.read_parquet(next(tmp_path.glob(f"own/*/{windows}")))) > 20


def test_another_explainer_sample_reads_windows_for_the_explainer_alone(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, inputs = Artifacts(tmp_path / "shared"), opened(world, explain=AIDS | {"top": 3})
    expected = contents(harvest(inputs, Artifacts(tmp_path / "own"), quiet))
    harvest(opened(world, explain=AIDS), artifacts, quiet)
    told: list[str] = []
    assert contents(harvest(inputs, artifacts, lambda phase, done, total: told.append(phase))) == expected
    assert [phase for phase in told if phase.startswith("reading")] == ["reading explainer windows"]


def test_more_exemplars_than_there_is_room_for_are_read_and_then_serve_the_others(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, read = Artifacts(tmp_path), counted_batches(monkeypatch)
    for per_bin, reads in ((4, True), (sampling.ROOM.judge, True), (sampling.ROOM.judge - 1, False), (7, False)):
        read.clear()
        harvest(opened(world, score={"per_bin": per_bin}), artifacts, quiet)
        assert bool(read) == reads, per_bin


@pytest.mark.parametrize("stated", [True, False], ids=["now", "an earlier version, which did not state its quotas"])
def test_shards_without_room_give_the_same_tables(
    world: planted.World, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    inputs, others = opened(world), Artifacts(tmp_path)
    with monkeypatch.context() as without_room:
        without_room.setattr(sampling, "ROOMY_UNITS", 0)
        plan = begin_harvest(inputs, others)
        for number in range(plan.shards):
            harvest_shard(inputs, others, plan, number, quiet)
            if not stated:
                path = others.read(plan.shard(number))
                with np.load(path) as saved:
                    arrays = {name: saved[name] for name in saved if name not in ("quota", "note")}
                with path.open("wb") as out:
                    np.savez(out, **arrays)
    assert plan.shards > 1
    found = merge.merge_harvest(inputs, others, plan, quiet)
    expected = harvest(inputs, artifacts, quiet)
    assert contents(found) == contents(expected)


def test_harvests_of_one_pass_that_differ_in_numbers_of_exemplars_are_read_once(
    world: planted.World, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, sketches = Artifacts(tmp_path), counted_batches(monkeypatch)
    many = [opened(world), opened(world, score={"per_bin": 7}), opened(world, score={"per_bin": 2})]
    found = harvest(many[0], others, quiet, also=many[1:])
    assert set(sketches) == {1}
    assert contents(found) == contents(harvest(many[0], artifacts, quiet))
    sketches.clear()
    for number in (1, 2):
        harvest(many[number], others, quiet)
    assert sketches == []


def test_a_sketch_that_is_gone_is_read_again(world: planted.World, artifacts: Artifacts, tmp_path: Path) -> None:
    inputs, others = opened(world), Artifacts(tmp_path)
    harvest(opened(world, score={"per_bin": 3}), others, quiet)
    assert kept_sketch(inputs, others, begin_harvest(inputs, others))
    for name in others.list("reading-"):
        others.remove(name)
    assert contents(harvest(inputs, others, quiet)) == contents(harvest(inputs, artifacts, quiet))


def test_what_is_counted_decides_which_sketches_serve(world: planted.World, artifacts: Artifacts) -> None:
    for other in ({"harvest": {"window_tokens": 12}}, {"harvest": {"skip_positions": 2}}):
        inputs = opened(world, **other)
        assert kept_sketch(inputs, artifacts, begin_harvest(inputs, artifacts)) is None
