"""Keys and places: what a run leaves holds no key, and a place that cannot be written ends in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer, Script

from autointerp.cli.main import main
from autointerp.findings import tables
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger

CANARY = "plain-canary-of-no-known-look"
MODEL = planted_runs.MODELS[2]
FEW = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def command(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command line over a few units, with a key that looks like none."""
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", CANARY)

    def run(server: ProviderServer, results: Path) -> Result:
        spec = tmp_path / "spec.toml"
        judge = planted_runs.judge(MODEL, server)
        spec.write_text(world.spec(units=FEW, score={"per_bin": 2}, judge=judge).to_toml())
        return CliRunner().invoke(main, ["run", str(spec), "--results", str(results)])

    return run


def echo(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The right answer, with the key in every text."""
    answer = think_apart(system, user, schema)
    return {name: f"{value} {CANARY}" if isinstance(value, str) else value for name, value in answer.items()}


def everything_in(folder: Path) -> dict[str, str]:
    """The content of every file below a folder as text."""
    texts = {}
    for path in filter(Path.is_file, folder.rglob("*")):
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            text += pd.read_parquet(path).to_csv()
        texts[str(path.relative_to(folder))] = text
    return texts


@pytest.mark.slow
def test_nothing_that_a_run_leaves_holds_a_key_that_the_server_echoes(command: Command, tmp_path: Path) -> None:
    results = tmp_path / "q?mode=ro #1 é"
    with ProviderServer(echo, Script("401")) as server:
        outputs = [command(server, results), command(server, results)]
    assert [output.exit_code for output in outputs] == [5, 0], outputs[-1].output
    [run_id] = [path.parent.name for path in results.glob("*/summary.json")]
    for words in (["status", run_id], ["logs", run_id], ["runs"], ["report", run_id]):
        outputs.append(CliRunner().invoke(main, [*words, "--results", str(results)]))
        assert outputs[-1].exit_code == 0, outputs[-1].output
    texts = everything_in(tmp_path) | {f"output {n}": output.output for n, output in enumerate(outputs)}
    assert any("***" in text for name, text in texts.items() if name.endswith("judgements.parquet"))
    assert {f"{results.name}/{run_id}/report.html", f"{results.name}/ledger.sqlite"} <= texts.keys()
    assert [name for name, text in texts.items() if CANARY in text] == []
    assert {path.name for path in tmp_path.iterdir()} == {results.name, "spec.toml"}


@pytest.mark.slow
def test_a_run_whose_results_cannot_be_written_stops_and_resumes(command: Command, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with ProviderServer(think_apart) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "write_table", _full)
            stopped = command(server, results)
        asked = len(server.books)
        assert stopped.exit_code == 1
        assert "No space left on device" in stopped.stderr.splitlines()[-1]
        assert "Traceback" not in stopped.output
        with Ledger.in_folder(results).read() as tx:
            [row] = runs.all_runs(tx)
        assert (row["state"], row["exit_code"]) == ("stopped", 1)
        assert "No space left" in row["reason"]
        assert command(server, results).exit_code in (0, 3)
        assert len(server.books) == asked, "nothing is paid for twice"


@pytest.mark.parametrize("words", [["run"], ["submit"]])
@pytest.mark.parametrize("name", ["file/results", b"not-\xff-utf-8", "new\nline", "x" * 300])
def test_a_results_folder_that_cannot_be_is_one_line(
    command: Command, world: planted.World, tmp_path: Path, words: list[str], name: str | bytes
) -> None:
    (tmp_path / "file").write_text("not a folder")
    spec = tmp_path / "spec.toml"
    spec.write_text(world.spec().to_toml())
    results = tmp_path / (name if isinstance(name, str) else os.fsdecode(name))
    result = CliRunner().invoke(main, [*words, str(spec), "--results", str(results), "--quiet"])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr.splitlines()) <= 4, "click's own usage errors have a line of usage and one of help"
    assert "Traceback" not in result.output


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
