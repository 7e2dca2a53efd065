"""A matrix is carried as runs of its own: its cost is said first, it continues where it stopped, and one comparison ends it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer

from autointerp.cli.main import main

UNITS = {"feature_ids": list(range(8)), "neuron_ids": [f"{i}+" for i in range(8)]}
MODELS = planted_runs.MODELS[:2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=80)


@pytest.fixture(scope="module")
def other(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dictionary whose features' directions are turned a little."""
    folder = tmp_path_factory.mktemp("turned")
    for file in world.dictionary.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["W_enc"] += 0.05 * torch.randn(tensors["W_enc"].shape, generator=torch.Generator().manual_seed(1))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


def matrix(path: Path, world: planted.World, matrix: dict[str, Any], **sections: Any) -> str:
    small = {"score": {"per_bin": 1}, "harvest": {"bins": 4}, "controls": {"shuffled": 1, "base_rate": 1}}
    spec = world.spec(units=UNITS, **(small | sections))
    path.write_text(spec.to_toml() + "\n" + tomli_w.dumps({"matrix": matrix}))
    return str(path)


def run(*arguments: str, results: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["run", *arguments, "--quiet", "--results", str(results)])
    return done.exit_code, done.output


@pytest.mark.slow
def test_a_matrix_is_one_run_for_each_cell_and_one_comparison(
    world: planted.World, other: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    with ProviderServer(think_apart) as server:
        judges = [planted_runs.judge(model, server) for model in MODELS]
        axes = {"dictionary": {"path": [str(world.dictionary), str(other)]}, "judge": judges}
        path = matrix(tmp_path / "matrix.toml", world, axes, judge=judges[0], explainer=judges[0])
        code, said = run(path, "--dry-run", results=results)
        assert code == 0, said
        assert server.books == []
        assert len(list(results.glob("artifacts/harvest-*/facts.json"))) == 2
        code, said = run(path, results=results)
        assert code in (0, 3), said
        calls = re.search(r"in all 4 runs, ([\d,]+) calls to LLMs, about \$", said)
        assert calls is not None, said
        assert int(calls[1].replace(",", "")) == len(server.books)
        asked = len(server.books)
        code, again = run(path, results=results)
        assert len(server.books) == asked
        assert "in all 4 runs, 0 calls" in again
    folders = sorted(path.parent for path in results.glob("*/summary.json"))
    assert len(folders) == 4
    assert all((folder / "spec.toml").is_file() and (folder / "report.html").is_file() for folder in folders)
    [file] = results.glob("comparisons/*/comparison.json")
    values = json.loads(file.read_text())
    assert [pair["along"] for pair in values["pairs"]] == ["dictionary.path", "dictionary.path", "judge", "judge"]
    assert [(cell["dictionary"], cell["judge"]) for cell in values["grid"]] == [
        (str(dictionary), model) for dictionary in (world.dictionary, other) for model in MODELS
    ]
    for cell in values["grid"]:
        assert (file.parent / cell["link"]).resolve() == (results / cell["run_id"] / "report.html").resolve()
        assert all(cell[key] for key in ("grade", "headline", "distinction", "trust"))
    before = file.read_bytes()
    compared = CliRunner().invoke(main, ["compare", path, "--results", str(results)])
    assert compared.exit_code == 0, compared.output
    assert [each.read_bytes() for each in results.glob("comparisons/*/comparison.json")] == [before]
    page = (file.parent / "comparison.html").read_text()
    report = (folders[0] / "report.html").read_text()
    assert f'href="../comparisons/{file.parent.name}/comparison.html"' in report
    assert all(f'href="../../{folder.name}/report.html"' in page for folder in folders)


def test_a_cell_that_fails_leaves_the_others_and_is_shown_with_its_reason(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(planted_runs.KEYS[1])
    axes = {"judge": {"model": ["embedded", MODELS[1]]}}
    path = matrix(tmp_path / "matrix.toml", world, axes, explainer={"model": "embedded"})
    code, said = run(path, results=tmp_path / "results")
    assert code == 2, said
    assert len(list(tmp_path.glob("results/*/summary.json"))) == 1
    [file] = tmp_path.glob("results/comparisons/*/comparison.json")
    first, second = json.loads(file.read_text())["grid"]
    assert (first["judge"], first["reason"]) == ("embedded", "")
    assert planted_runs.KEYS[1] in second["reason"]
    assert f"no result: {second['reason']}" in said
    assert "no result" in (file.parent / "comparison.html").read_text()


def test_a_matrix_is_submitted_as_runs_and_a_cell_that_is_refused_leaves_the_others(
    world: planted.World, tmp_path: Path
) -> None:
    axes = {"dictionary": {"path": ["nowhere", str(world.dictionary)]}, "judge": {"model": list(MODELS)}}
    path = matrix(tmp_path / "matrix.toml", world, axes, explainer={"model": "embedded"})
    for was in ("new", "queued"):
        done = CliRunner().invoke(main, ["submit", path, "--results", str(tmp_path / "results")])
        assert done.exit_code == 2, done.output
        ids = re.findall(rf"^(\S+)  {was}$", done.output, re.MULTILINE)
        names = [f"planted.dictionary.{model}" for model in ("claude-haiku-4-5", "gpt-5.4-mini")]
        assert [run_id.rpartition("-")[0] for run_id in ids] == names
        assert f"dictionary.path = nowhere, judge.model = {MODELS[0]}: not submitted: " in done.output
        assert re.search(r"in all 4 runs, at most [\d,]+ calls to LLMs: about \$", done.output)


@pytest.mark.slow
def test_specs_of_several_files_are_compared_if_that_is_asked_for(world: planted.World, tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        paths.append(tmp_path / f"{seed}.toml")
        sections = {
            "units": {"features": 6, "neurons": 6, "seed": seed},
            "score": {"per_bin": 1},
            "harvest": {"bins": 4},
        }
        paths[-1].write_text(world.spec(**sections, judge={"model": "embedded"}).to_toml())
    code, said = run(*map(str, paths), "--compare", results=tmp_path / "results")
    assert code in (0, 3), said
    [file] = tmp_path.glob("results/comparisons/*/comparison.json")
    values = json.loads(file.read_text())
    assert len(values["sides"]) == 2
    assert [pair["differ"] for pair in values["pairs"]] == [["sampled units"]]
