"""Runs recorded by an earlier version, with its spec, ledger, harvest and results, open, resume and report as they did then.

`tests/fixtures/recorded_runs.tar.xz` was written by the program before its modules were moved into folders. `world` and `spec.toml` are
a small subject, dictionary and corpus; `finished` is its run, `stopped` the same run after Ctrl-C; `demo` is a small run of the demo.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from support.locations import ROOT, TESTS
from support.nulls import without_reason

from autointerp.cli.main import main
from autointerp.ledger.database import Ledger
from autointerp.pipeline.evaluate import evaluate
from autointerp.progress import Progress
from autointerp.spec.spec import load

TABLES = ("units", "exemplars", "judgements")
OWN = {"command", "created_at", "finished_at", "versions", "wall_s", "stage_s", "belief", "cautions"}
"""Parts of a summary that belong to one sitting, or are prose."""
RESTATED = {
    "headline": "bin by bin, so that bins that units lack make no difference; new intervals; withheld by the sanity checks",
    "headline_bounds": "as the headline",
    "difference_if_unscored_units_are_zero": "as the headline",
    "weightings": "as the headline",
    "bins": "new intervals, for few and skewed units",
    "controls": "new intervals, for few and skewed units",
    "evidence.repeats": "intervals by the jackknife, with a limit where all grades repeat",
    "evidence.second": "intervals by the jackknife, with a limit where both judges agree on every item",
    "evidence.people": "intervals by the jackknife; corrected means of nearly equal labels have none",
    "evidence.normalised": "as the headline",
    "evidence.planted": "new intervals, for few and skewed units",
    "evidence.random": "new intervals, for few and skewed units",
    "scorers": "new intervals, for few and skewed units",
    "variants": "new intervals, for few and skewed units",
    "studies": "new intervals, for few and skewed units",
}
"""Parts of a summary whose numbers differ by design from those of the version that recorded the runs, with the reason."""


NEW_REASONS = ("meaning", "absent", "undefined_why")
"""Descriptions, and reasons of null values, which the version that recorded the runs did not give."""


def without_prose(part: Any) -> Any:
    """The part without descriptions of figures, and with every reason for a missing value as whether there is one."""
    if isinstance(part, dict):
        kept = {key: without_prose(value) for key, value in part.items() if key not in NEW_REASONS}
        return kept | ({"why": bool(part["why"])} if "why" in part else {})
    return [without_prose(value) for value in part] if isinstance(part, list) else part


def without_restated(part: Any, path: str) -> Any:
    """`without_prose` of the part at this path; of what is restated by design, only whether it is there.

    Where only intervals are restated, the other numbers are compared.
    """
    reason = RESTATED.get(path, "")
    if reason:
        return without_intervals(part) if reason.startswith("new intervals") else part is None
    if isinstance(part, dict) and any(restated.startswith(f"{path}.") for restated in RESTATED):
        return {key: without_restated(value, f"{path}.{key}") for key, value in part.items() if key != "absent"}
    return without_prose(part)


def without_intervals(part: Any) -> Any:
    """The part without limits of intervals and what is said of them, with numbers to nine digits."""
    if isinstance(part, dict):
        limits = ("ci_low", "ci_high", "p_superior_ci_low", "p_superior_ci_high", "why", "freedom", *NEW_REASONS)
        return {key: without_intervals(value) for key, value in part.items() if key not in limits}
    if isinstance(part, list):
        return [without_intervals(value) for value in part]
    return round(part, 9) if isinstance(part, float) else part


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(TESTS / "fixtures" / "recorded_runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def the_run(results: Path) -> Path:
    [folder] = (path.parent for path in results.glob("*/summary.json"))
    return folder


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return found


def assert_same(folder: Path, before: dict[str, pd.DataFrame], numbers: dict[str, Any]) -> None:
    for name, table in tables(folder).items():
        pd.testing.assert_frame_equal(table[[*before[name].columns]], before[name])  # later versions add columns
    now = summary(folder)
    schema = json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(now)
    Draft202012Validator(schema).validate(numbers)
    assert now.keys() >= numbers.keys()
    for part in sorted(numbers.keys() - OWN):
        assert without_restated(now[part], part) == without_restated(numbers[part], part), part
    assert list(without_reason(now)) == []
    assert re.findall(r"n/a(?! \()", (folder / "report.md").read_text("utf-8")) == []
    # A check of the rule by which a grade is withheld now makes the judge not reliable, where it was to be interpreted with caution.
    assert now["belief"]["verdict"] in (numbers["belief"]["verdict"], "do_not")
    passed = {check["name"]: check["passed"] for check in now["belief"]["checks"]}
    for check in numbers["belief"]["checks"]:
        assert passed[check["name"]] == check["passed"]


def test_a_stopped_run_resumes_to_the_tables_and_numbers_of_the_whole_one(recorded: Path) -> None:
    whole = the_run(recorded / "finished")
    harvested = sorted((recorded / "stopped" / "artifacts").rglob("*.parquet"))
    stamps = [path.stat().st_mtime_ns for path in harvested]
    done = CliRunner().invoke(main, ["run", "spec.toml", "--results", "stopped", "--quiet"])
    assert done.exit_code == 3, done.output
    assert "features are graded no higher than those of a random dictionary" in done.output
    assert the_run(recorded / "stopped").name == whole.name
    assert [path.stat().st_mtime_ns for path in harvested] == stamps, "the harvest was made again"
    assert_same(the_run(recorded / "stopped"), tables(whole), summary(whole))


def test_a_new_run_beside_an_earlier_one_does_not_take_over_its_harvest(recorded: Path) -> None:
    spec = recorded / "spec.toml"
    spec.write_text(spec.read_text().replace('name = "recorded"', 'name = "new"').replace('compare = ["contrast"]', ""))
    done = CliRunner().invoke(main, ["run", "spec.toml", "--results", "finished", "--quiet"])
    assert done.exit_code in (0, 3), done.output
    [new] = (path.parent for path in (recorded / "finished").glob("new-*/summary.json"))
    numbers = summary(new)
    assert numbers["harvest"] != summary(next((recorded / "finished").glob("recorded-*")))["harvest"]
    assert numbers["corpus"]["contents"]["duplicates"] == 0


def test_a_run_whose_earlier_harvest_is_gone_says_so(recorded: Path) -> None:
    shutil.rmtree(recorded / "stopped" / "artifacts")
    done = CliRunner().invoke(main, ["run", "spec.toml", "--results", "stopped", "--quiet"])
    assert done.exit_code == 2
    assert "of an earlier version, which is not in" in done.output


@pytest.mark.parametrize("results", ["finished", "demo"])
def test_a_finished_run_is_reported_again_with_equal_tables_and_numbers(recorded: Path, results: str) -> None:
    folder = the_run(recorded / results)
    before, numbers = tables(folder), summary(folder)
    for name in TABLES:
        (folder / f"{name}.parquet").unlink()
    done = CliRunner().invoke(main, ["report", folder.name, "--results", results])
    assert done.exit_code == 0, done.output
    assert_same(folder, before, numbers)
    assert "</html>" in (folder / "report.html").read_text("utf-8")


def test_results_without_their_ledger_are_reported_from_the_files(recorded: Path) -> None:
    folder = the_run(recorded / "demo")
    (recorded / "demo" / "ledger.sqlite").unlink()
    (folder / "report.html").unlink()
    done = CliRunner().invoke(main, ["report", folder.name, "--results", "demo"])
    assert done.exit_code == 0, done.output
    assert (folder / "report.html").is_file()


def test_a_results_folder_that_does_not_exist_is_made(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path("made/here")
    with ExitStack() as ledgers, Progress(quiet=True) as progress:
        evaluate(load(Path("spec.toml")), results, progress, lambda: opened(ledgers, results), dry_run=True, command=[])
    assert "questions to embedded" in capsys.readouterr().out
    assert results.is_dir()


def opened(ledgers: ExitStack, results: Path) -> Ledger:
    ledger = Ledger.in_folder(results)
    ledgers.callback(ledger.close)
    return ledger
