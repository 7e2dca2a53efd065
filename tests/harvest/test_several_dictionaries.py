"""Several dictionaries on one subject: each token is run once for all of them, with the same results as for each alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from support.planted_world import world as planted
from support.services.servers import RedisServer

import sae.harvest.harvest
from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.harvest import dictionary_checks, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.shards import PlannedInputs, begin_harvest, harvest_shard
from autointerp.ledger import jobs, leases, runs
from autointerp.pipeline import prepare as preparation
from autointerp.pipeline.submit import submit
from autointerp.progress import Progress, quiet
from autointerp.settings import Settings
from autointerp.spec.spec import Spec
from workers import runner
from workers.context import Context

FEW: dict[str, Any] = {
    "units": {"feature_ids": list(range(8)), "neuron_ids": [f"{i}+" for i in range(8)]},
    "score": {"per_bin": 1},
    "controls": {"shuffled": 2, "base_rate": 2},
    "harvest": {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("together"), documents=150)


@pytest.fixture(scope="module")
def folders(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The planted dictionary, and two that turn its features' directions a little."""
    found = [world.dictionary]
    for number in (1, 2):
        folder = tmp_path_factory.mktemp(f"dictionary-{number}")
        for file in world.dictionary.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = folder / "sae_weights.safetensors"
        tensors = load_file(weights)
        generator = torch.Generator().manual_seed(number)
        tensors["W_enc"] += 0.05 * torch.randn(tensors["W_enc"].shape, generator=generator)
        save_file(tensors, weights)
        found.append(folder)
    return found


@pytest.fixture(scope="module")
def specs(world: planted.World, folders: list[Path]) -> list[Spec]:
    return [world.spec(**FEW, dictionary={"path": str(folder)}) for folder in folders]


@contextmanager
def counted_batches() -> Iterator[Counter[str]]:
    """Counts the batches of harvests that go through the subject."""
    found: Counter[str] = Counter()
    read_batch = sae.harvest.harvest._add_batch

    def counting(*arguments: Any) -> None:
        found["batches"] += 1
        read_batch(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sae.harvest.harvest, "_add_batch", counting)
        yield found


def exemplars(results: Path) -> dict[str, bytes]:
    """By harvest, the exemplars that it left."""
    return {path.parent.name: path.read_bytes() for path in results.glob("artifacts/harvest-*/exemplars.parquet")}


@pytest.fixture(scope="module")
def alone(specs: list[Spec], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """The exemplars of every dictionary read alone, and the number of batches of all of them."""
    results = tmp_path_factory.mktemp("alone")
    with counted_batches() as counted:
        for spec in specs:
            preparation.prepare(spec, results, Progress(quiet=True))
    return exemplars(results), counted["batches"]


def test_one_process_reads_a_corpus_once_for_three_dictionaries(
    specs: list[Spec], tmp_path: Path, alone: tuple[dict[str, bytes], int]
) -> None:
    expected, apart = alone
    with counted_batches() as counted:
        preparation.harvest_together(specs, tmp_path, Progress(quiet=True))
    assert exemplars(tmp_path) == expected
    assert len(expected) == 3
    assert 3 * counted["batches"] == apart


def test_controls_of_all_dictionaries_are_read_in_the_same_pass(
    world: planted.World, folders: list[Path], tmp_path: Path
) -> None:
    one_shard = FEW["harvest"] | {"shard_tokens": 1 << 20}
    controls = {"random_dictionary": "small", "random_subject": False}
    specs = [
        world.spec(**FEW | {"harvest": one_shard, "controls": controls}, dictionary={"path": str(folder)})
        for folder in folders[:2]
    ]
    found = []
    for name, given in (("together", specs), ("alone", specs[1:])):
        with counted_batches() as counted:
            preparation.harvest_together(given, tmp_path / name, Progress(quiet=True))
        files = (tmp_path / name).glob("artifacts/harvest-*/random_dictionary-*-exemplars.parquet")
        found.append((counted["batches"], {file.parent.name: file.read_bytes() for file in files}))
    (batches, tables), (batches_alone, table_alone) = found
    assert batches == batches_alone
    assert table_alone.items() <= tables.items()
    assert (len(tables), len(table_alone)) == (2, 1)


def test_a_dictionary_that_cannot_be_read_does_not_stop_the_others(
    specs: list[Spec], world: planted.World, tmp_path: Path
) -> None:
    broken = world.spec(**FEW, dictionary={"path": str(tmp_path / "nowhere")})
    preparation.harvest_together([broken, *specs[:2]], tmp_path, Progress(quiet=True))
    assert len(exemplars(tmp_path)) == 2


@pytest.mark.slow
def test_a_dictionary_that_is_refused_does_not_stop_the_others(
    specs: list[Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at night, where nobody would see why nothing was scored."""
    require_fit = dictionary_checks.require_fit

    def refuse(spec: Spec, check: Any) -> None:
        require_fit(spec, check)
        if spec.dictionary.path == specs[1].dictionary.path:
            raise UsageError("the dictionary explains nothing")

    monkeypatch.setattr(dictionary_checks, "require_fit", refuse)
    preparation.harvest_together(specs, tmp_path, Progress(quiet=True))
    assert len(exemplars(tmp_path)) == 2
    with pytest.raises(UsageError, match="explains nothing"):
        preparation.prepare(specs[1], tmp_path, Progress(quiet=True))


def test_harvests_of_different_passes_are_refused(specs: list[Spec], world: planted.World, tmp_path: Path) -> None:
    inputs = open_inputs(specs[0], quiet)
    less = world.spec(**FEW, corpus={"sources": [str(world.corpus)], "max_tokens": 4096})
    other = open_inputs(less, quiet)
    artifacts = Artifacts(tmp_path)
    plans = begin_harvest(inputs, artifacts), begin_harvest(other, artifacts)
    with pytest.raises(UsageError, match="does not share a pass"):
        harvest_shard(inputs, artifacts, plans[0], 0, quiet, also=[PlannedInputs(other, plans[1])])
    assert shards.missing_shards(artifacts, plans[0]) == list(range(plans[0].shards))


def test_workers_read_a_shard_for_every_run_that_waits_for_it(
    specs: list[Spec], tmp_path: Path, redis_service: RedisServer, alone: tuple[dict[str, bytes], int]
) -> None:
    """The task of one run prepares the others, reads their shards with its own, and leaves each what it leaves alone."""
    expected, apart = alone
    context = Context(Settings(results=tmp_path, broker=redis_service.url), "activations")
    try:
        ids = [submit(context.ledger, spec, tmp_path).run_id for spec in specs]
        with counted_batches() as counted:
            runner.stages(context, ids[0], ("prepare", "harvest", "merge"), 60)
        with context.ledger.read() as tx:
            left = {run_id: jobs.counts(tx, run_id).get("harvest", {}) for run_id in ids}
            states = [runs.get(tx, run_id) for run_id in ids]
        assert [set(counts) for counts in left.values()] == [{"done"}] * 3
        assert all(row is not None and row["state"] == "running" for row in states)
        with counted_batches() as later:
            for run_id in ids[1:]:
                runner.stages(context, run_id, ("prepare", "harvest", "merge"), 60)
        assert exemplars(tmp_path) == expected
        assert 3 * (counted + later)["batches"] == apart
    finally:
        context.close()


def test_a_job_that_failed_before_is_run_alone(specs: list[Spec], tmp_path: Path, redis_service: RedisServer) -> None:
    context = Context(Settings(results=tmp_path, broker=redis_service.url), "activations")
    try:
        ids = [submit(context.ledger, spec, tmp_path).run_id for spec in specs[:2]]
        for run_id in ids:
            runner.stages(context, run_id, ("prepare",), 60)
        with context.ledger.write() as tx:
            [job] = leases.lease(tx, ids[0], "harvest", most=1, owner="me")
            leases.fail_attempt(tx, ids[0], job, owner="me", error="out of memory", seconds=0.0)
        runner.stages(context, ids[0], ("harvest",), 60)
        with context.ledger.read() as tx:
            assert jobs.counts(tx, ids[1])["harvest"].get("pending") == 1
            assert jobs.counts(tx, ids[0])["harvest"].keys() == {"done"}
    finally:
        context.close()


def test_several_specs_on_one_command_line(specs: list[Spec], tmp_path: Path) -> None:
    files = []
    for number, spec in enumerate(specs[:2]):
        files.append(tmp_path / f"{number}.toml")
        files[-1].write_text(spec.to_toml())
    done = CliRunner().invoke(main, ["run", *map(str, files), "--quiet", "--results", str(tmp_path / "results")])
    assert done.exit_code in (0, 3), done.output
    assert len(list(tmp_path.glob("results/*/report.html"))) == 2
