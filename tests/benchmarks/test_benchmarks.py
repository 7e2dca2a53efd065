"""The benchmarks run in a small configuration, and their server answers as a provider does. No test looks at how fast."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.locations import ROOT
from support.planted_world import runs as planted_runs

from autointerp.judges.registry import open_judge
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.sections import Judge


def run(script: str, *arguments: str) -> list[list[str]]:
    """The cells of the table that a benchmark prints."""
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.slow
def test_the_fan_out_benchmark_runs_locally_and_with_workers() -> None:
    header, local, fleet = run("fanout.py", "--cases", "local:8x0.05", "8x0.05", "--seconds", "1", "--processes", "2")
    for row, processes in ((local, "1"), (fleet, "2")):
        found = dict(zip(header, row, strict=True))
        assert found["processes"] == processes
        assert int(found["judgements"].replace(",", "")) >= 64
        assert float(found["whole /s"]) > 0
        assert float(found["worker ms"]) > 0


def test_the_benchmark_of_ways_to_ask_runs() -> None:
    header, *rows = run("asking.py", "--items", "12", "--attacked", "1", "--ways", "reason", "logprobs", "grade:3")
    found = {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows}
    assert list(found) == ["reason", "logprobs", "grade x 3"]
    assert {cells["scored"] for cells in found.values()} == {"12/12"}
    assert [found[way]["expected"] == "-" for way in found] == [True, False, True]
    assert found["reason"]["exact"] == found["grade x 3"]["exact"], "the baseline grades items of a group one by one"
    assert {cells["fence"] for cells in found.values()} == {"0/1"}


@pytest.mark.slow
def test_the_benchmark_of_a_million_jobs_runs_with_fewer() -> None:
    header, *rows = run("million.py", "--jobs", "3000")
    assert header == ["", "sqlite", "postgresql"]
    found = {row[0]: row[1:] for row in rows}
    assert all(int(size.replace(",", "")) > 100 for size in found["ledger, bytes a job"])
    few, many = found["Redis with 1,000 jobs, KiB"], found["Redis with 3,000 jobs, KiB"]
    assert all(0 < int(after) < 2 * int(before) for before, after in zip(few, many, strict=True))


@pytest.mark.slow
def test_the_harvest_benchmark_runs() -> None:
    header, *rows = run("harvest.py", "--case", "tiny", "--tokens", "2048", "--rounds", "2")
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["case"] for row in found] == ["tiny"]
    assert [row["features"] for row in found] == ["16"]
    assert all(float(row[ratio]) > 0 for row in found for ratio in ("first", "median", "whole"))


@pytest.mark.parametrize("model", ["anthropic/claude-haiku-4-5", "openai/gpt-5.4-mini"])
def test_the_fixed_server_answers_a_judge(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    specificity = rubric.load("specificity")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "fixed_server.py"), "--latency", "0.01"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            judge = open_judge(Judge(model=model, base_url=planted_runs.url(model, url)), specificity)
            window = MarkedText(("a", " word"), 1)
            prompt = single_grade.prompt(specificity, ScoreMaterial("words", window), 200)
            for _ in range(3):
                reply = judge.ask(prompt)
                assert reply.stop == "complete"
                assert single_grade.parse(specificity, reply.text)[0] == 2
            judge.close()
        finally:
            server.kill()
