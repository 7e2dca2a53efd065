"""The index of a planted dictionary: complete, the same in any number of passes and sittings, and made once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from support.locations import ROOT, TESTS
from support.planted_world import world as planted

from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.explorer.index import build as builds
from autointerp.explorer.index import passes, schema
from autointerp.explorer.index.build import build
from autointerp.explorer.index.folder import EXAMPLES, LABELS, MAP, UNITS, IndexFolder
from autointerp.explorer.index.settings import IndexSettings
from autointerp.harvest import checkpoints
from autointerp.progress import Progress
from autointerp.studies.given import Given
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.formats.saelens import writer
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")
SHOWN = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=120, idle=True)


@pytest.fixture(scope="module")
def index(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    return made(world, tmp_path_factory.mktemp("index"), neurons=True)


def given(world: planted.World, out: Path | None = None, **changes: Any) -> Given:
    inputs = {"subject": str(world.subject), "dictionaries": (str(world.dictionary),), "corpus": (str(world.corpus),)}
    return Given(**(inputs | {"out": out, "quiet": True} | changes))


def made(world: planted.World, out: Path, **settings: Any) -> IndexFolder:
    with Progress(quiet=True) as progress:
        return build(given(world, out), progress, **settings)


def test_every_unit_has_a_row_with_what_it_answers_to(world: planted.World, index: IndexFolder) -> None:
    about, n = index.about, len(world.features)
    assert (about.n_features, about.n_neurons) == (n, 2 * len(world.neurons))
    table = index.table(UNITS)
    assert table.schema.equals(schema.UNITS)
    assert table["row"].to_pylist() == list(range(about.n_features + about.n_neurons))
    assert table["unit_id"].to_pylist()[n : n + 2] == ["neuron-0+", "neuron-0-"]
    for row in range(8):
        assert world.answers(index.unit(row)["unit_id"]) == (planted.CONCEPTS[row],)
        marked = [e["tokens"][e["mark"]].strip() for e in index.examples(row)]
        assert len(marked) >= SHOWN
        assert {planted.strength(word)[0] for word in marked if planted.strength(word)} == {planted.CONCEPTS[row]}
        assert planted.strength(marked[0])[1] == pytest.approx(0.95)
    silent = [row for row in range(n) if world.kind(f"feature-{row}") == "absent"]
    assert [index.unit(row)["events"] for row in silent] == [0]
    assert index.examples(silent[0]) == []
    assert [index.unit(row)["density"] for row in silent] == [0.0]


def test_figures_of_a_unit_agree_with_each_other(index: IndexFolder) -> None:
    about = index.about
    for row in range(about.n_features + about.n_neurons):
        unit, shown = index.unit(row), index.examples(row)
        assert sum(unit["histogram"]) == unit["events"]
        assert len(unit["histogram"]) == schema.HISTOGRAM_PARTS
        assert unit["density"] == pytest.approx(unit["events"] / about.n_tokens)
        assert len(unit["promoted"]) <= schema.TOKENS
        assert all(near["row"] != row for near in (*unit["nearest"], *unit["together"]))
        strongest = Counter(example["tokens"][example["mark"]] for example in shown if example["bin"] == 0)
        assert unit["marked"] == [token for token, _ in strongest.most_common(schema.TOKENS)]
        if not unit["events"]:
            continue
        assert shown[0]["activation"] == pytest.approx(unit["maximum"], rel=1e-5)
        assert 0 < unit["mean"] <= unit["maximum"]
        assert [e["bin"] for e in shown] == sorted((e["bin"] for e in shown), key=lambda b: -b if b else -99)
        for example in shown:
            assert example["activations"][example["mark"]] == example["activation"]
            assert len(example["activations"]) == len(example["tokens"])
            if example["bin"]:
                share = example["activation"] / unit["maximum"] * about.bins
                assert example["bin"] - 1 - 0.05 < share < example["bin"] + 0.05


def test_a_subject_without_neurons_has_features_without_correlations(
    world: planted.World, index: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = Subject.width

    def refused(subject: Subject, hook_point: str) -> int:
        if hook_point.startswith("mlp_act"):
            raise SubjectError("neurons of a mixture of experts")
        return width(subject, hook_point)

    monkeypatch.setattr(Subject, "width", refused)
    found = made(world, tmp_path)
    assert [len(found.unit(row)["neurons"]) for row in range(8)] == [0] * 8
    assert found.unit(3)["together"] == index.unit(3)["together"]
    with pytest.raises(SubjectError):
        made(world, tmp_path, neurons=True)


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_dictionaries_without_any_event_and_with_few_features_have_an_index(
    world: planted.World, tmp_path: Path, activation: str
) -> None:
    silent = activation == "relu"
    rows = torch.eye(3, planted.D_MODEL)
    dictionary = Dictionary(
        W_enc=rows, b_enc=torch.full((3,), -100.0 if silent else 0.0), W_dec=rows, b_dec=torch.zeros(planted.D_MODEL),
        activation=activation, k=None if silent else 1, hook_point="resid_post.1",
    )  # fmt: skip
    writer.save(tmp_path / "dictionary", dictionary, model_name="planted")
    with Progress(quiet=True) as progress:
        index = build(given(world, tmp_path / "index", dictionaries=(str(tmp_path / "dictionary"),)), progress)
    events = [index.unit(row)["events"] for row in range(3)]
    assert (sum(events) == 0) == silent
    assert [bool(index.examples(row)) for row in range(3)] == [n > 0 for n in events]
    assert index.table(MAP).num_rows == 0
    assert index.about.dictionary.architecture == activation


def test_the_map_has_all_features_in_clusters(world: planted.World, index: IndexFolder) -> None:
    places, clusters = index.table(MAP).to_pylist(), index.clusters()
    assert [place["row"] for place in places] == list(range(len(world.features)))
    assert {place["cluster"] for place in places} == {cluster.cluster for cluster in clusters}
    assert sum(cluster.size for cluster in clusters) == len(places)
    first = [place for place in places if place["cluster"] == clusters[0].cluster]
    assert clusters[0].x == pytest.approx(np.mean([place["x"] for place in first]), abs=1e-5)


def test_row_groups_hold_the_units_that_index_json_names(index: IndexFolder) -> None:
    with pq.ParquetFile(index.path / EXAMPLES) as file:
        assert file.num_row_groups == len(index.about.groups)
        for first, n_rows, number in index.about.groups:
            rows = file.read_row_group(number)["row"].to_pylist()
            assert first <= min(rows) <= max(rows) < first + n_rows
            assert rows == sorted(rows)


def test_passes_and_row_groups_change_nothing(
    world: planted.World, index: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit, examples = index.unit(13), index.examples(13)
    monkeypatch.setattr(schema, "UNIT_ROWS", 8)
    monkeypatch.setattr(schema, "EXAMPLE_UNITS", 4)
    several = made(world, tmp_path / "several", neurons=True, memory=1)
    assert same(index, several)
    assert len(several.about.groups) > len(index.about.groups)
    assert several.unit(13) == unit
    assert several.examples(13) == examples
    assert not list(several.path.glob("parts*"))


def test_an_index_is_made_once_for_its_inputs(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = made(world, tmp_path)
    first, units = index.about, index.table(UNITS)
    with monkeypatch.context() as patch:
        patch.setattr(builds, "make", not_to_be_called)
        assert made(world, tmp_path).about == first
        pq.write_table(units.drop_columns(["marked"]), tmp_path / UNITS, row_group_size=schema.UNIT_ROWS)
        assert made(world, tmp_path).table(UNITS).equals(units), "a column that an earlier version lacked is added"
        places = index.table(MAP)
        moved = places.set_column(1, "x", pa.array([0.0] * len(places), pa.float32()))
        pq.write_table(moved.replace_schema_metadata(schema.MAP.metadata), tmp_path / MAP)
        assert made(world, tmp_path).table(MAP).equals(moved), "a map of the present method is kept"
        pq.write_table(moved.replace_schema_metadata(None), tmp_path / MAP)
        assert made(world, tmp_path).table(MAP).equals(places), "a map of an earlier method is made again"
    more = made(world, tmp_path, tokens=2000).about
    assert more.n_tokens < first.n_tokens
    assert more.identity != first.identity


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_index_continues_and_is_the_same(
    world: planted.World, index: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    for name in ("INTERVAL_S", "SHORTEST_S"):
        monkeypatch.setattr(checkpoints, name, 0.0)
    batches = read_batches(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", stop_after(after))
        with pytest.raises(KeyboardInterrupt):
            made(world, tmp_path, neurons=True)
    assert not IndexFolder(tmp_path).is_finished()
    n_before = len(batches)
    again = made(world, tmp_path, neurons=True)
    assert same(index, again)
    assert n_before == after
    assert len(batches) == 4, "no batch is read twice"


@pytest.mark.slow
def test_a_killed_index_continues_and_is_the_same(world: planted.World, index: IndexFolder, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from autointerp.harvest import checkpoints\n"
        "from autointerp.cli.main import main\n"
        "from autointerp.explorer.index import passes\n"
        "checkpoints.INTERVAL_S = checkpoints.SHORTEST_S = 0.0\n"
        "passes.examples = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(sys.argv[1:])\n"
    )
    options = ["--subject", str(world.subject), "--dictionary", str(world.dictionary), "--corpus", str(world.corpus)]
    command = [sys.executable, "-c", script, "index", *options, "--neurons", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(tmp_path.rglob("checkpoint*.npy"))
    assert same(index, made(world, tmp_path, neurons=True))


def test_the_command_says_what_it_costs_and_what_it_made(world: planted.World, tmp_path: Path) -> None:
    options = ["--subject", str(world.subject), "--dictionary", str(world.dictionary), "--corpus", str(world.corpus)]
    done = CliRunner().invoke(main, ["index", *options, "--results", str(tmp_path), "--memory", "500 MB"])
    assert done.exit_code == 0, done.output
    assert f"index of {len(world.features)} units: 1 pass over" in done.stderr
    assert f"{len(world.features)} features" in done.stdout
    [made_at] = (tmp_path / "indexes").iterdir()
    assert IndexFolder(made_at).is_finished()


@pytest.mark.parametrize(
    ("options", "needle"),
    [
        (["--memory", "much"], "write a size such as 2GB"),
        ([], "no subject"),
        (["--subject", "x"], "no dictionary"),
        (["--subject", "x", "--dictionary", "y"], "an index needs text"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: list[str], needle: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["index", *options, "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert needle in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_less_memory_takes_more_passes() -> None:
    few, many = IndexSettings(memory=1 << 28), IndexSettings(memory=1 << 31)
    assert few.units_per_pass(48, 4096) == 4096
    assert many.units_per_pass(48, 4096) >= 16_384
    assert many.units_per_pass(48, 4096) * many.unit_bytes(48) <= 1 << 31


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no finished index"):
        _ = IndexFolder(tmp_path).about
    assert IndexFolder(tmp_path).table(LABELS).num_rows == 0


def same(one: IndexFolder, other: IndexFolder) -> bool:
    for name in (UNITS, EXAMPLES):
        tables = [folder.table(name).combine_chunks() for folder in (one, other)]
        assert tables[0].equals(tables[1]), name
    assert one.about.model_dump(exclude={"groups"}) == other.about.model_dump(exclude={"groups"})
    return True


def not_to_be_called(*_: Any) -> None:
    raise AssertionError("the index is made again")


def stop_after(n: int) -> Callable[..., None]:
    """Raises `KeyboardInterrupt` at the n-th report of the reading, as Ctrl-C does."""
    reports: list[str] = []

    def update(_: Progress, phase: str, done: int, total: int) -> None:
        reports.extend([phase] * (phase == "reading"))
        if len(reports) >= n:
            raise KeyboardInterrupt

    return update


def read_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the sizes of the batches that are run while an index is read."""
    sizes: list[int] = []
    run = passes.harvest.run_contexts

    def counted(subject: Any, corpus: Any, rows: np.ndarray, hook_points: Any) -> Any:
        if len(hook_points) > 1:
            sizes.append(len(rows))
        return run(subject, corpus, rows, hook_points)

    monkeypatch.setattr(passes.harvest, "run_contexts", counted)
    return sizes
