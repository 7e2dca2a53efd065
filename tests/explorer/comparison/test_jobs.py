"""Comparisons are computed by a process beside the explorer: one at a time, with errors in one line, and again after an interruption."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import explorer_pair
from support.explorer_pair import OTHER, OWN

from autointerp.explorer.comparison import files
from autointerp.explorer.comparison.jobs import Job, Jobs, Key
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.web.library import INDEX

pytestmark = pytest.mark.slow
_LONGEST_S = 120


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def state(jobs: Jobs, key: Key) -> str:
    job = jobs.of(key)
    return job.state if job else "done"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    explorer_pair.make(tmp_path)
    return tmp_path / OWN / INDEX, tmp_path / OTHER / INDEX


def result(key: Key) -> object:
    sides = [Side(IndexFolder(path)) for path in key]
    return files.read(sides[0], sides[1].about.identity)


def test_a_comparison_that_is_killed_leaves_nothing_and_is_computed_when_it_is_asked_for_again(key: Key) -> None:
    jobs = Jobs()
    assert jobs.of(key) is None
    assert jobs.ask(key)
    assert jobs.ask((key[1], key[0]))  # waits
    wait(lambda: jobs._process is not None)
    assert state(jobs, (key[1], key[0])) == "waiting"
    jobs.stop()
    wait(lambda: state(jobs, key) == "failed")
    job = jobs.of(key)
    assert isinstance(job, Job)
    assert "the comparison stopped" in job.error
    assert jobs.ask(key)
    wait(lambda: state(jobs, key) == "done" and state(jobs, (key[1], key[0])) == "done")
    assert result(key) is not None
    assert not list(key[0].glob(".writing-*"))


def test_an_error_is_one_line(key: Key) -> None:
    explorer_pair.change_about(IndexFolder(key[0]), dictionary={"path": "/nowhere/at/all"})
    jobs = Jobs()
    jobs.ask(key)
    wait(lambda: state(jobs, key) == "failed")
    job = jobs.of(key)
    assert job is not None
    assert "/nowhere/at/all" in job.error
    assert "\n" not in job.error
    assert result(key) is None


def test_the_process_ends_with_the_explorer(key: Key) -> None:
    command = [sys.executable, "-m", "autointerp.explorer.comparison.compute", *map(str, key)]
    read, write = os.pipe()
    process = subprocess.Popen(command, stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(read)
    os.close(write)  # as when the explorer is killed
    assert process.wait(timeout=_LONGEST_S) == 1
    assert result(key) is None


def test_too_many_comparisons_are_refused(tmp_path: Path) -> None:
    jobs = Jobs()
    keys = [(tmp_path / f"{i}", tmp_path / "other") for i in range(12)]
    assert [jobs.ask(each) for each in keys].count(False) >= 3
    wait(lambda: state(jobs, keys[0]) == "failed")
    jobs.stop()
    with jobs._lock:
        for each in keys:
            jobs._jobs.pop(each, None)
