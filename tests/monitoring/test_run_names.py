"""Runs as a command line names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autointerp.errors import UsageError
from autointerp.monitoring import run_names

IDS = ["b-2", "a-12", "a-1"]


@pytest.mark.parametrize(
    ("name", "found"), [("a-1", "a-1"), ("a-12", "a-12"), ("b", "b-2"), ("latest", "b-2"), ("c", "c")]
)
def test_a_name_is_an_id_its_beginning_or_latest(name: str, found: str) -> None:
    assert run_names.find(name, IDS) == found


def test_the_beginning_of_several_ids_is_refused_with_the_ids() -> None:
    with pytest.raises(UsageError, match=r"a is the beginning of 2 run ids \(a-12, a-1\): give more"):
        run_names.find("a", IDS)


def test_latest_without_runs_says_how_to_start_one() -> None:
    with pytest.raises(UsageError, match="autointerp run SPEC"):
        run_names.find("latest", [])


def test_finished_runs_are_those_with_a_summary_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "middle", "old"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").touch()
        os.utime(tmp_path / name / "summary.json", (10_000 - age, 10_000 - age))
    (tmp_path / "unfinished").mkdir()
    assert run_names.finished(tmp_path) == ["new", "middle", "old"]
