"""Runs that an earlier version began continue as they began: none of the controls that were added since is asked about."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.locations import TESTS

from autointerp.cli.main import main
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.pipeline import submit
from autointerp.pipeline.earlier import as_begun
from autointerp.spec.spec import Spec, from_toml, load

RUN = "recorded-d25f19aa"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(TESTS / "fixtures" / "recorded_runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(ledger: Ledger, run_id: str) -> Spec:
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None
    return from_toml(row["spec"])


def added(spec: Spec) -> list[int | bool | str]:
    """The controls that a spec has by default and an earlier version had not."""
    return [spec.controls.neighbours, spec.controls.random_subject]


@pytest.mark.parametrize(("results", "was"), [("stopped", "resumed"), ("finished", "done")])
def test_a_run_that_an_earlier_version_began_is_submitted_as_it_began(recorded: Path, results: str, was: str) -> None:
    spec, ledger = load(Path("spec.toml")), Ledger.in_folder(recorded / results)
    assert added(spec) == [10, "small"]
    assert submit.submit(ledger, spec, recorded / results) == submit.Submitted(RUN, was)
    assert added(stored(ledger, RUN)) == [0, False]
    ledger.close()


def test_the_same_spec_begins_a_new_run_in_another_ledger(recorded: Path, tmp_path: Path) -> None:
    spec, ledger = load(Path("spec.toml")), Ledger.in_folder(tmp_path / "new")
    submitted = submit.submit(ledger, spec, tmp_path / "new")
    assert submitted.was == "new"
    assert submitted.run_id != RUN
    assert added(stored(ledger, submitted.run_id)) == [10, "small"]
    ledger.close()


def test_a_control_that_is_set_begins_a_new_run_beside_the_earlier_one(recorded: Path) -> None:
    spec, ledger = load(Path("spec.toml"), ["controls.neighbours=10"]), Ledger.in_folder(recorded / "finished")
    submitted = submit.submit(ledger, spec, recorded / "finished")
    assert submitted.was == "new"
    assert added(stored(ledger, submitted.run_id)) == [10, "small"]
    ledger.close()


def test_a_finished_run_of_an_earlier_version_has_no_question_left(recorded: Path) -> None:
    done = CliRunner().invoke(main, ["run", "spec.toml", "--results", "finished", "--dry-run", "--quiet"])
    assert done.exit_code == 0, done.output
    assert f"run {RUN}" in done.output
    assert re.findall(r"(\S+) +(\d+) questions", done.output) == [("explain", "0"), ("score", "0")]


def test_without_a_ledger_the_spec_is_as_it_is(recorded: Path) -> None:
    spec = load(Path("spec.toml"))
    assert as_begun(spec, lambda other: RUN, None) == spec
