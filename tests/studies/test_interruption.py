"""Ctrl-C in every command that uses features: one line, exit code 130, and the same command continues to the same finding."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from support.planted_world import lexicon_world, nested
from support.planted_world import world as planted

from autointerp.cli import common
from autointerp.cli.main import main
from autointerp.studies.folder import StudyFolder

pytestmark = pytest.mark.usefixtures("one_thread")
LIST = 'name = "things"\nnoun = "thing"\ntemplates = ["filler1 filler2 {}"]\nconcepts = ["harbour4", "orchard4"]\n'
COMMANDS = {
    "find": ["--new", "NEW", "--tokens", "4000"],
    "steer": ["--unit", "0", "--prompt", "filler1 filler2 filler3", "--factors", "2,5", "--tokens", "2"],
    "attribute": ["filler1 harbour1 orchard2 filler4", "--target", "filler3", "--ablations", "4"],
    "neighbours": ["--groups", "0"],
    "split": ["--dictionary", "OTHER", "--tokens", "4000"],
    "cover": ["--concepts", "LIST", "--tokens", "4000"],
    "categories": ["--file", "CATEGORIES"],
}


class Stops:
    """Sends SIGINT to this process when the part number `at` of a study is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.kept: list[str] = []
        for name in ("kept_frame", "kept_arrays"):
            monkeypatch.setattr(StudyFolder, name, self._stopping(getattr(StudyFolder, name)))

    def _stopping(self, keep: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(folder: StudyFolder, part: str, make: Callable[[], Any]) -> Any:
            found = keep(folder, part, make)
            if part not in self.kept:
                self.kept.append(part)
                if len(self.kept) == self.at:
                    os.kill(os.getpid(), signal.SIGINT)
            return found

        return stopping


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    folder = tmp_path_factory.mktemp("interrupted")
    world = planted.make(folder / "world", documents=20)
    dictionary, other = (nested.save(folder / name, rows) for name, rows in (("a", nested.LARGE), ("b", nested.SMALL)))
    rng = random.Random(0)
    texts = [lexicon_world.fillers(rng, 8) for _ in range(40)]
    (folder / "new.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "list.toml").write_text(LIST)
    sides = f"probes = {json.dumps(texts[:6])}\ncontrols = {json.dumps(texts[6:12])}\n"
    (folder / "categories.toml").write_text(f'[[category]]\nname = "any"\n{sides}')
    names = {"NEW": "new.jsonl", "LIST": "list.toml", "CATEGORIES": "categories.toml"}
    places = {name: str(folder / file) for name, file in names.items()} | {"OTHER": str(other)}

    def of(command: str) -> list[str]:
        inputs = [
            "--subject",
            str(world.subject),
            "--dictionary",
            str(dictionary),
            "--corpus",
            str(world.corpus),
            "--quiet",
        ]
        return [command, *inputs, *(places.get(part, part) for part in COMMANDS[command])]

    return of


def contents(folder: Path) -> dict[str, Any]:
    """The files of a finding, but for the parts that it was made from."""
    tables = {path.name: pd.read_parquet(path).to_dict("list") for path in sorted(folder.glob("*.parquet"))}
    return tables | {
        path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".html", ".svg")
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_stopped_at_any_part_continues_to_the_same_finding(
    command: str, arguments: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "_leave_at_once", lambda code: None)
    stops, runner = Stops(monkeypatch), CliRunner()
    whole = runner.invoke(main, [*arguments(command), "--out", str(tmp_path / "whole")])
    assert whole.exit_code == 0, whole.output
    parts = list(stops.kept)
    assert parts, "no part is kept"
    for stops.at in range(1, len(parts) + 1):
        stops.kept.clear()
        stopped = runner.invoke(main, [*arguments(command), "--out", str(tmp_path / "again")])
        assert stopped.exit_code == 130, stopped.output
        assert stopped.output == ("autointerp: stopped; all work so far is kept: run the same command to continue\n")
        assert not (tmp_path / "again" / "study.json").exists()
        assert {path.stem for path in (tmp_path / "again" / "parts").iterdir()} == set(parts[: stops.at])
    stops.at = None
    assert runner.invoke(main, [*arguments(command), "--out", str(tmp_path / "again")]).exit_code == 0
    assert str(contents(tmp_path / "again")) == str(contents(tmp_path / "whole"))
