"""The benchmarks run in a small configuration, and their server answers as a provider does. No test looks at how fast."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from support.locations import ROOT
from support.planted_world import runs as planted_runs

from autointerp.judges.registry import open_judge
from autointerp.messages import MarkedText, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge


def run(script: str, *arguments: str) -> list[list[str]]:
    """The cells of the table that a benchmark prints."""
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return cells(done.stdout)


def cells(printed: str) -> list[list[str]]:
    rows = [line for line in printed.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script in this process, which has imported torch already. Returns the text that the script prints."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")

    def printed(script: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        importlib.import_module(script).main()
        return capsys.readouterr().out

    return printed


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


@pytest.mark.slow
def test_the_benchmark_of_the_index_runs() -> None:
    header, row = run("index.py", "--case", "tiny", "--tokens", "4096", "--rounds", "1", "--units", "32")
    found = dict(zip(header, row, strict=True))
    assert (found["case"], found["features"], found["units"]) == ("tiny", "256", "32")
    assert float(found["ratio"]) > 0
    assert int(found["bytes a unit"].replace(",", "")) > 100


@pytest.mark.slow
def test_the_benchmark_of_the_index_beside_others_runs_without_them() -> None:
    header, *rows = run("index_peers.py", "--size", "tiny", "--rounds", "1")
    found = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert list(found) == ["ours", "ours, auto"]
    assert found["ours"]["CPU a feature, times ours"] == "1.00"
    assert int(found["ours"]["bytes a feature"].replace(",", "")) > 100


@pytest.mark.slow
def test_the_steering_benchmark_runs() -> None:
    header, row = run("steering.py", "--prompts", "2", "--tokens", "2")
    found = dict(zip(header, row, strict=True))
    assert (found["prompts"], found["continuations"], found["tokens"]) == ("2", "22", "2")
    assert float(found["ratio"]) > 0


def test_the_gpu_check_without_a_gpu_says_so_in_one_line_and_ends_well(
    run_here: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    [line] = run_here("gpu_check", "--json", str(tmp_path / "never-written.json")).splitlines()
    assert "torch finds no GPU" in line
    assert not (tmp_path / "never-written.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_gpu_check_runs_at_tiny_sizes_on_the_cpu_and_keeps_its_figures(tmp_path: Path) -> None:
    header, *rows = run("gpu_check.py", "--device", "cpu", "--json", str(tmp_path / "figures.json"))
    assert header == ["check", "result", "figures", "s"]
    facts = json.loads((tmp_path / "figures.json").read_text())
    assert [(check["name"], "passed") for check in facts["checks"]] == [(row[0], row[1]) for row in rows]
    names = " ".join(check["name"] for check in facts["checks"])
    for word in (
        "harvest",
        "encoder topk",
        "encoder jumprelu",
        "encoder batchtopk",
        "steering",
        "studies",
        "two processes",
        "ratio",
    ):
        assert word in names
    for check in facts["checks"]:
        assert "error" not in check["figures"]
    ratios = [check["figures"] for check in facts["checks"] if check["name"].startswith("ratio")]
    assert all(figures["ratio"] > 0 and figures["peak MiB"] > 0 for figures in ratios)


def test_a_check_that_raises_has_failed_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    gpu_check = importlib.import_module("gpu_check")

    def broken(world: object) -> Iterator[object]:
        yield "first half", True, {"figure": 1.0}
        raise RuntimeError("CUDA error:\n out of memory")

    monkeypatch.setattr(gpu_check, "CHECKS", {"broken": broken, "sound": lambda world: iter([("sound", True, {})])})
    first, second, third = gpu_check.run(None, ["broken", "sound"])
    assert (first.passed, third.name, third.passed) == (True, "sound", True)
    assert (second.name, second.passed) == ("broken", False)
    assert second.figures == {"error": "RuntimeError: CUDA error: out of memory"}


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


@pytest.mark.slow
def test_the_benchmark_of_reading_runs() -> None:
    header, row = run("reading.py", "--case", "tiny", "--tokens", "20000", "--rounds", "1")
    found = dict(zip(header, row, strict=True))
    assert found["documents"] == "1,600"
    assert found["tokens"] == "16,000"


def test_the_benchmark_of_neighbours_runs(run_here: Callable[..., str]) -> None:
    header, *rows = cells(run_here("neighbours", "--features", "1200", "--width", "16", "--threads", "1"))
    assert header == ["", "wall s", "CPU s", "peak MiB added"]
    assert [row[0] for row in rows] == ["nearest 10 of all", "200 groups"]
