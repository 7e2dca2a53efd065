"""A finished harvest is reused without its weights, for any run that asks other questions over it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from support.planted_world import world as planted

from autointerp.pipeline.prepare import harvest_together, prepare
from autointerp.progress import Progress
from autointerp.spec.spec import Spec
from sae.errors import SaeError
from sae.formats import outline

FEW = {"feature_ids": [0, 1], "neuron_ids": ["0+"]}
AIDS = {"compare": ["contrast", "neighbours", "logits", "revise"]}
"""All that is read for the explainer."""


@pytest.fixture
def world(tmp_path: Path) -> planted.World:
    """A world whose files are old enough to be known by their stamps."""
    world = planted.make(tmp_path / "world", documents=40)
    set_times(world, time.time_ns() - 10**10)
    return world


def set_times(world: planted.World, ns: int) -> None:
    for path in (*world.subject.iterdir(), *world.dictionary.iterdir(), world.dictionary.parent / "corpus.jsonl"):
        if path.is_file():
            os.utime(path, ns=(ns, ns))


def weights(world: planted.World) -> list[Path]:
    return [*world.subject.glob("*.safetensors"), *world.dictionary.glob("*.safetensors")]


def poison(world: planted.World) -> None:
    """Replace all weights by zeros, with the same stamps."""
    assert len(weights(world)) == 2
    for path in weights(world):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture
def refuse_weights(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse() -> None:
        fail = lambda *_, **__: pytest.fail("weights were read")  # noqa: E731
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fail)
        monkeypatch.setattr(outline, "load_dictionary", fail)

    return refuse


def spec_of(world: planted.World, adaptive: bool = False) -> Spec:
    return world.spec(units=FEW, controls={"shuffled": 5} if adaptive else {})


def test_a_run_with_other_questions_reads_no_weights(
    world: planted.World, tmp_path: Path, refuse_weights: Callable[[], None]
) -> None:
    first = prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    poison(world)
    refuse_weights()
    again = prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    assert (again.run_id, again.harvest, again.units) == (first.run_id, first.harvest, first.units)
    other = prepare(spec_of(world, adaptive=True), tmp_path / "results", Progress(quiet=True))
    assert other.run_id != first.run_id
    assert (other.harvest, other.units) == (first.harvest, first.units)
    harvest_together([spec_of(world), spec_of(world, adaptive=True)], tmp_path / "results", Progress(quiet=True))


def test_a_run_with_other_numbers_of_exemplars_reads_no_weights(
    world: planted.World, tmp_path: Path, refuse_weights: Callable[[], None]
) -> None:
    def with_judged(n: int) -> Spec:
        controls = {"neighbours": 4, "random_dictionary": True, "random_directions": True, "planted": 2}
        return world.spec(units=FEW, controls=controls, explain=AIDS, score={"per_bin": n, "also": ["detection"]})

    first = prepare(with_judged(3), tmp_path / "results", Progress(quiet=True))
    poison(world)
    refuse_weights()
    other = prepare(with_judged(5), tmp_path / "results", Progress(quiet=True))
    assert other.harvest != first.harvest
    kinds = [{re.sub("[0-9a-f]{12}", "", path.name) for path in run.harvest.iterdir()} for run in (first, other)]
    assert kinds[0] == kinds[1] > {"exemplars.parquet", "aids--windows.parquet", "neighbours--windows.parquet"}
    facts = [json.loads((run.harvest / "facts.json").read_text("utf-8")) for run in (first, other)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("number", [0, 1])
def test_weights_that_have_changed_since_are_read(world: planted.World, tmp_path: Path, number: int) -> None:
    prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    poison(world)
    os.utime(weights(world)[number])
    with pytest.raises(SaeError):
        prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))


def test_files_younger_than_their_stamps_can_tell_are_not_remembered(world: planted.World, tmp_path: Path) -> None:
    set_times(world, time.time_ns() + 10**12)
    prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    poison(world)
    with pytest.raises(SaeError):
        prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))


def test_a_harvest_that_lacks_a_side_file_is_completed(world: planted.World, tmp_path: Path) -> None:
    run = prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    [studies] = run.harvest.glob("studies-*.json")
    content = studies.read_bytes()
    studies.unlink()
    prepare(spec_of(world), tmp_path / "results", Progress(quiet=True))
    assert studies.read_bytes() == content
