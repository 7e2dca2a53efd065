"""The quickstart as a reader follows it: the commands of the page, in their order, from an empty folder.

The names of models, dictionaries and texts in the page are folders and files here: a planted world lies under each of them, and the
judge is the tests' own server. Only the lengths of texts and trainings are replaced, and the names of runs, which hold a hash.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import zstandard
from support.locations import ROOT
from support.pages import section
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.providers.protocols import Json
from support.providers.server import ProviderServer, default_brain

pytestmark = pytest.mark.slow

SMALLER = {"20_000_000": "20_000", "d_sae = 8192": "d_sae = 96", "k = 48": "k = 4"}
WITHHELD = 3
"""The exit code of a run whose judge answers at random, as the server's does."""
FEW_UNITS = "\n[units]\nfeatures = 10\nneurons = 10\n"
"""The planted world has 16 features."""
ELSEWHERE = {
    "autointerp open": "starts a browser: tests/cli/test_terminal.py",
    "autointerp explore latest": "serves until Ctrl-C: tests/explorer/web/test_app.py",
}
"""Commands of the page that are not run here, with the reason and the tests that do."""


def answer(system: str, user: str, schema: Json) -> Json:
    """The server's own answers; to the question which windows are a unit's, the first."""
    return {"answers": [1]} if "answers" in schema.get("properties", {}) else default_brain(system, user, schema)


class Shell:
    """An empty folder, and a shell in which `autointerp` is installed."""

    def __init__(self, folder: Path, server: ProviderServer) -> None:
        self.folder, self.home = folder / "work", folder / "home"
        programs = folder / "bin"
        for made in (self.folder, self.home, programs):
            made.mkdir()
        program = programs / "autointerp"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m autointerp "$@"\n')
        program.chmod(0o755)
        self._environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.home),
            "AUTOINTERP_CACHE": str(folder / "cache"),
            "ANTHROPIC_BASE_URL": server.url,
            "ANTHROPIC_API_KEY": planted_runs.KEY,
        }

    def run(self, block: str, names: Mapping[str, str]) -> dict[str, str]:
        """Run the lines of a block and return the output of each. Fails if a line does."""
        outputs = {}
        for line in block.splitlines():
            if line in ELSEWHERE:
                continue
            command = line
            for name, replacement in names.items():
                command = command.replace(name, replacement)
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode in (0, WITHHELD), f"{command}\n{done.stdout}{done.stderr}"
            outputs[line] = done.stdout + done.stderr
        return outputs

    def runs(self) -> list[str]:
        """Names of the finished runs, oldest first."""
        found = (self.folder / "results").glob("*/summary.json")
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with ProviderServer(answer) as server:
        yield Shell(tmp_path, server)


def lay_out(world: planted.World, folder: Path, model: str, dictionary: str, text: str) -> None:
    """Put the planted world under the names of the page."""
    shutil.copytree(world.subject, folder / model, dirs_exist_ok=True)
    shutil.copytree(world.dictionary, folder / dictionary, dirs_exist_ok=True)
    (folder / text).parent.mkdir(parents=True, exist_ok=True)
    data = world.corpus.read_bytes()
    if text.endswith(".zst"):
        data = zstandard.compress(data)
    (folder / text).write_bytes(data)


def test_the_quickstart_leads_from_an_empty_folder_to_a_report(shell: Shell, world: planted.World) -> None:
    lay_out(world, shell.folder, "openai-community/gpt2", "path/to/blocks.8.hook_resid_pre", "text/words.jsonl.zst")
    outputs: dict[str, str] = {}
    for language, body in section("docs/quickstart.md", "Your own dictionary"):
        if language == "toml":
            (shell.folder / "my.toml").write_text(body + FEW_UNITS)
            continue
        names = {"gpt2-jb-8-0a1b2c3d": shell.runs()[0]} if shell.runs() else {}
        outputs |= shell.run(body, names)
    first, second = shell.runs()
    summaries = [json.loads((shell.folder / "results" / run / "summary.json").read_text()) for run in (first, second)]
    assert [summary["judge"] for summary in summaries] == ["anthropic/claude-haiku-4-5"] * 2
    assert "$" in outputs["autointerp run my.toml --dry-run"]
    assert "report.html" in outputs["autointerp run my.toml"]
    assert first in outputs["autointerp runs"]
    assert (shell.folder / "results" / second / "report.html").is_file()


def test_the_quickstart_trains_and_completes_and_inspects_the_machine(shell: Shell, world: planted.World) -> None:
    lay_out(world, shell.folder, "openai-community/gpt2", "unused", "text/words.jsonl.zst")
    for language, body in section("docs/quickstart.md", "Training a small dictionary"):
        if language == "toml":
            for long, short in {**SMALLER, "resid_post.6": "resid_post.0"}.items():
                body = body.replace(long, short)
            (shell.folder / "training.toml").write_text(body)
        else:
            shell.run(body, {})
    assert (shell.folder / "dictionaries" / "gpt2-6" / "cfg.json").is_file()
    [(_, doctor), (_, completion)] = section("docs/quickstart.md", "If something is missing")
    assert planted_runs.KEY not in shell.run(doctor, {})["autointerp doctor"]
    shell.run(completion, {})
    assert "autointerp" in (shell.home / ".bashrc").read_text()
