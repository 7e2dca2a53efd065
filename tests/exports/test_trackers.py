"""W&B, MLflow, TensorBoard and inspect_ai hold a run's configuration, figures and tables, as their own readers find them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.packages import needed
from support.results import summaries

from autointerp.cli.export import export
from autointerp.exports import tracking
from autointerp.exports.run_tables import RunTables

# The trackers' own code uses what their dependencies warn about.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "demo-1"
    summaries.make(folder, n_features=4, n_neurons=3, knows="sharp", studied=True)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunTables:
    return RunTables.read(folder)


def exported(folder: Path, to: str, out: Path) -> str:
    done = CliRunner().invoke(export, [str(folder), "--to", to, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.strip().splitlines()[-1]


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, in which W&B keeps offline runs: https://github.com/google/leveldb/blob/main/doc/log_format.md."""
    block, at, whole = 32768, 7, b""  # W&B's own header has 7 bytes
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield whole
            whole = b""


def test_figures_are_those_of_the_summary_and_withheld_ones_are_left_out(run: RunTables, tmp_path: Path) -> None:
    figures, headline = tracking.measures(run.summary), run.summary.headline
    assert figures["difference"] == headline.difference
    assert figures["fit/l0"] == run.summary.check.l0 if run.summary.check else False
    assert all(math.isfinite(value) for value in figures.values())
    summaries.make(tmp_path / "thin-1", n_features=3, n_neurons=2, withheld="too few units")
    withheld = RunTables.read(tmp_path / "thin-1")
    assert "difference" not in tracking.measures(withheld.summary)
    assert tracking.configuration(withheld)["withheld"] == "too few units"


def test_the_configuration_names_every_key_of_the_spec(run: RunTables) -> None:
    configuration = tracking.configuration(run)
    assert configuration["subject.model"] == run.spec["subject"]["model"]
    assert configuration["dictionary.fingerprint"] == run.summary.dictionary.fingerprint


@pytest.mark.peers
def test_tensorboard_reads_scalars_curves_and_texts(folder: Path, run: RunTables, tmp_path: Path) -> None:
    reader = needed("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(exported(folder, "tensorboard", tmp_path), size_guidance={"scalars": 0}).Reload()
    figures = tracking.measures(run.summary)
    assert events.Scalars("difference")[0].value == pytest.approx(figures["difference"])
    curve = tracking.curves(run.summary)["grade_by_bin/feature"]
    read = [(event.step, event.value) for event in events.Scalars("grade_by_bin/feature")]
    assert read == [(bin_, pytest.approx(grade)) for bin_, grade in curve]
    assert {"report/text_summary", "units/text_summary"} <= set(events.Tags()["tensors"])


@pytest.mark.peers
def test_mlflow_reads_parameters_metrics_tables_and_files(folder: Path, run: RunTables, tmp_path: Path) -> None:
    client = needed("mlflow").MlflowClient
    address, _, run_id = exported(folder, "mlflow", tmp_path).partition(" run ")
    opened = client(address)
    data = opened.get_run(run_id).data
    assert data.params["judge.model"] == run.spec["judge"]["model"]
    assert data.metrics["difference"] == pytest.approx(tracking.measures(run.summary)["difference"])
    history = {m.step: m.value for m in opened.get_metric_history(run_id, "grade_by_bin/feature")}
    assert history == dict(tracking.curves(run.summary)["grade_by_bin/feature"])
    assert {each.path for each in opened.list_artifacts(run_id)} == {"grades_by_bin.svg", "results", "units.json"}
    assert {Path(each.path).name for each in opened.list_artifacts(run_id, "results")} == {
        path.name for path in tracking.files(run)
    }


@pytest.mark.peers
def test_wandb_writes_an_offline_run(
    folder: Path, run: RunTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = needed("wandb")
    records = needed("wandb.proto.wandb_internal_pb2")
    for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    where = Path(exported(folder, "wandb", tmp_path))
    library.teardown()  # its writer is another process, which may still write
    [written] = where.parent.glob("*.wandb")
    kinds, config, summary = set(), set(), set()
    for data in leveldb_records(written.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        kinds.add(record.WhichOneof("record_type"))
        config |= {item.key for item in record.run.config.update}
        summary |= {item.key or "/".join(item.nested_key) for item in record.summary.update}
    assert {"run", "history", "artifact"} <= kinds
    assert set(tracking.configuration(run)) <= config
    assert set(tracking.measures(run.summary)) <= summary
    assert list(where.rglob("*.table.json"))


@pytest.mark.peers
def test_inspect_reads_a_sample_for_every_judgement(folder: Path, run: RunTables, tmp_path: Path) -> None:
    log = needed("inspect_ai.log").read_eval_log(exported(folder, "inspect", tmp_path))
    assert log.status == "success"
    assert len(log.samples) == len(run.judgements)
    assert len({(sample.id, sample.epoch) for sample in log.samples}) == len(log.samples)
    rubric = run.summary.rubric.name
    grades = sorted(sample.scores[rubric].value for sample in log.samples if sample.scores)
    assert grades == sorted(row["score"] for row in run.judgements if row["score"] is not None)
    assert log.results.scores[0].metrics["difference"].value == run.summary.headline.difference
    sample = next(sample for sample in log.samples if sample.metadata["arm"] == "main")
    assert sample.input.startswith("Explanation: ")
    assert "<<" in sample.input


@pytest.mark.peers
@pytest.mark.parametrize(
    ("target", "package", "environment", "message"),
    [
        ("wandb", "wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": ""}, "Weights & Biases refuses the run"),
        (
            "mlflow",
            "mlflow",
            {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
            "MLflow at http://127.0.0.1:9 refuses the run",
        ),
    ],
)
def test_a_tracker_that_cannot_be_reached_is_said_in_one_line(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    package: str,
    environment: dict[str, str],
    message: str,
) -> None:
    library = needed(package)
    if hasattr(library, "teardown"):  # W&B keeps the settings of an earlier run of the process
        library.teardown()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(export, [str(folder), "--to", target, "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 2
    assert done.output.splitlines()[-1].startswith(f"autointerp: {message}")
