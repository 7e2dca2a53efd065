"""Studies that a spec names are carried out after the report, once, and one that fails loses nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.planted_world import world as planted

from autointerp.cli.main import main
from autointerp.harvest.input_cache import InputCache
from autointerp.ledger import jobs, leases, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.pipeline import stages
from autointerp.pipeline.prepare import prepare
from autointerp.progress import Progress
from autointerp.run import Run
from autointerp.spec.spec import Spec
from autointerp.spec.study_sections import KINDS, Cover
from autointerp.studies import command, registry
from autointerp.studies.completeness.concepts import available
from autointerp.studies.judging import Payer
from workers import stages as stages_of_workers

pytestmark = pytest.mark.usefixtures("one_thread")

FINDS = {"text": "filler1 harbour2 filler3"}
NO_SUCH = {"text": "filler1 harbour2 filler3", "at": "a passage that it has not"}
TABLES: dict[str, Any] = {
    "corpus": {"max_tokens": 12_000},
    "units": {"feature_ids": [0, 1, 2, 3, 4], "neuron_ids": ["0+", "1+", "4+", "5+", "10+"]},
    "score": {"per_bin": 1},
    "report": {"resamples": 200},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=120)


def spec_of(world: planted.World, **studies: Any) -> Spec:
    return world.spec(**TABLES, studies={"tokens": 0} | studies)


@pytest.fixture(scope="module")
def carried(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run without studies."""
    folder = tmp_path_factory.mktemp("carried")
    assert run(spec_of(world), folder).exit_code in (0, 3)
    return folder


@pytest.fixture
def folder(carried: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(carried, tmp_path / "folder"))


def run(spec: Spec, folder: Path, *options: str) -> Result:
    (folder / "spec.toml").write_text(spec.to_toml(), encoding="utf-8")
    return CliRunner().invoke(
        main, ["run", str(folder / "spec.toml"), "--results", str(folder / "results"), "--quiet", *options]
    )


def the_run(folder: Path) -> Path:
    [path] = (path.parent for path in (folder / "results").glob("*/summary.json"))
    return path


def finished(run: Path) -> dict[str, float]:
    """The time of each finished study of a run."""
    return {path.parent.name: path.stat().st_mtime for path in run.glob("studies/*/study.json")}


def row(folder: Path) -> tuple[str, str, int]:
    ledger = Ledger.in_folder(folder / "results")
    with ledger.read() as tx:
        [found] = runs.all_runs(tx)
    ledger.close()
    return found["state"], found["reason"], found["exit_code"]


def test_studies_follow_the_report_and_a_failed_one_loses_nothing(world: planted.World, folder: Path) -> None:
    path = the_run(folder)
    done = run(spec_of(world, find=[NO_SUCH, FINDS], neighbours={"map": "none"}), folder)
    assert done.exit_code == 1, done.output
    assert the_run(folder) == path, "studies are no part of the run's name"
    [line] = [line for line in done.stderr.splitlines() if line.startswith("autointerp: ")]
    assert line.startswith("autointerp: studies.find: ")
    before = finished(path)
    assert sorted(name.split("-")[0] for name in before) == ["find", "neighbours"]
    report = (path / "report.html").read_text(encoding="utf-8")
    assert all(f"studies/{name}/study.html" in report for name in before)
    state, reason, code = row(folder)
    assert state in ("done", "withheld")
    assert reason.endswith(line.removeprefix("autointerp: "))
    assert code == 1

    mended = run(spec_of(world, find=[FINDS, {"words": "harbour"}], neighbours={"map": "none"}), folder)
    assert mended.exit_code in (0, 3), mended.output
    now = finished(path)
    assert len(now) == len(before) + 1
    assert {name: now[name] for name in before} == before, "a finished study was carried out again"
    assert row(folder)[2] == 0


def test_a_study_of_a_spec_is_that_of_its_command(world: planted.World, folder: Path) -> None:
    assert run(spec_of(world, neighbours={"map": "none"}), folder).exit_code in (0, 3)
    before = finished(the_run(folder))
    arguments = ["neighbours", "--from", "latest", "--map", "none", "--results", str(folder / "results"), "--quiet"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert finished(the_run(folder)) == before


def test_a_dry_run_names_the_studies_and_wrong_ones_stop_it(world: planted.World, folder: Path) -> None:
    dry = run(spec_of(world, find=FINDS, neighbours={}), folder, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "  2 studies after the report: find, neighbours" in dry.output
    assert not finished(the_run(folder))
    wrong = run(spec_of(world, cover={"files": ["none.toml"]}), folder, "--dry-run")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("autointerp: studies.cover: ")
    assert wrong.stderr.count("\n") == 1


class Workers:
    """The workers of a run once all is answered: a real ledger, and no messages."""

    worker_id = "me"

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self._run, self.ledger, self.opened = run, ledger, InputCache()
        self.settings = SimpleNamespace(results=run.folder.parent)

    def run(self, run_id: str) -> Run:
        return self._run

    def payer(self, run: Run) -> Payer:
        return Payer(self.ledger, run.run_id)

    def work(self) -> None:
        """Do jobs until there are none."""
        context: Any = self
        while leased := [job for stage in ("finish", "studies") for job in self._lease(stage)]:
            for job in leased:
                stages_of_workers.run_job(context, self._run.run_id, job)

    def _lease(self, stage: str) -> list[Job]:
        with self.ledger.write() as tx:
            return leases.lease(tx, self._run.run_id, stage, most=1, owner=self.worker_id)


def test_workers_carry_out_the_same_studies(world: planted.World, folder: Path, tmp_path: Path) -> None:
    of_workers = Path(shutil.copytree(folder, tmp_path / "workers")) / "results"
    spec = spec_of(world, find=[NO_SUCH, FINDS], neighbours={"map": "none"})
    assert run(spec, folder).exit_code == 1
    prepared = prepare(spec, of_workers, Progress(quiet=True))
    ledger = Ledger.in_folder(of_workers)
    with ledger.write() as tx:
        runs.register(
            tx, run_id=prepared.run_id, name=spec.name, spec_hash=spec.hash(), spec=spec.to_toml(), carrier="fleet"
        )
        stages.plan_stage(tx, prepared.run_id, "finish")
    Workers(prepared, ledger).work()
    with ledger.read() as tx:
        counts = jobs.counts(tx, prepared.run_id)["studies"]
    ledger.close()
    assert counts == {"failed": 1, "done": 2}
    assert row(of_workers.parent) == row(folder)
    one, other = prepared.folder, the_run(folder)
    assert finished(one).keys() == finished(other).keys()
    for path in one.glob("studies/*/*.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(other / path.relative_to(one)))


@pytest.mark.parametrize(
    ("name", "keys", "arguments"),
    [
        ("find", {"text": "a"}, ["--text", "a"]),
        ("find", {"on": ["a"], "off": ["b"]}, ["--on", "a", "--off", "b"]),
        ("steer", {"units": ["1"], "prompts": ["a"], "factors": [-1, 2]}, ["--unit", "1", "--prompt", "a", "--factors=-1,2"]),
        ("steer", {"units": ["1"], "prompts": ["a"]}, ["--unit", "1", "--prompt", "a"]),
        ("attribute", {"prompt": "a", "target": "b"}, ["a", "--target", "b"]),
        ("neighbours", {}, []),
        ("neighbours", {"groups": [60, 8]}, ["--groups", "60,8"]),
        ("split", {"dictionaries": ["d"]}, []),
        ("cover", {}, []),
        ("cover", {"lists": ["elements"]}, ["elements"]),
        ("categories", {"chosen": ["bias"]}, ["--category", "bias"]),
    ],
)  # fmt: skip
def test_a_table_of_the_spec_and_a_command_mean_the_same_study(
    name: str, keys: dict[str, Any], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(command, "carry_out", lambda _given, name, settings, progress: given.update(settings))
    done = CliRunner().invoke(main, [name, *arguments, "--quiet"])
    assert done.exit_code == 0, done.output
    section = KINDS[name].model_validate(keys)
    assert registry.make(section.study, section.settings()) == registry.make(name, given)


def test_a_spec_offers_every_study() -> None:
    assert {*KINDS, "steer-cases"} == {*registry.STUDIES}
    assert set(available()) == {*get_args(get_args(Cover.model_fields["lists"].annotation)[0])}
