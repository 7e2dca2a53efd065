"""Real disks that are full or read-only: a command ends in one line, what was paid for is kept, and the same command continues."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer

from autointerp.calls import caller
from autointerp.cli.main import main
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger

pytestmark = pytest.mark.slow
MODEL = planted_runs.MODELS[2]
FEW = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}
MIB = 2**20
Command = Callable[..., Result]


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    """A file system at a folder, which is unmounted at the end. Skips where this user may not mount."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Fill a disk to the last block."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    assert shutil.disk_usage(disk).free == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as place:
        yield place


@pytest.fixture
def command(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command over a few units; SPEC among its words is the spec."""
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", planted_runs.KEY)
    monkeypatch.setattr(caller, "STORE_AGAIN_S", 0.2)

    def run(server: ProviderServer, results: Path, *words: str) -> Result:
        spec = tmp_path / "spec.toml"
        judge = planted_runs.judge(MODEL, server, concurrency=16)
        spec.write_text(world.spec(units=FEW, score={"per_bin": 2}, judge=judge).to_toml())
        named = [str(spec) if word == "SPEC" else word for word in words]
        return CliRunner().invoke(main, [*named, "--results", str(results)])

    return run


def ends_in_one_line(result: Result) -> bool:
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in (1, 2)
    return len(result.stderr.splitlines()[-1]) < 600


def test_a_disk_that_fills_up_while_questions_are_asked_costs_no_answer(command: Command, disk: Path) -> None:
    results = disk / "results"

    def think(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        if len(server.books) == 60:
            fill(disk)
        return think_apart(system, user, schema)

    with ProviderServer(think, delay_s=0.05) as server:
        stopped = command(server, results, "run", "SPEC")
        assert ends_in_one_line(stopped)
        assert "full" in stopped.stderr.splitlines()[-1]
        asked = len(server.books)
        with Ledger.in_folder(results).read() as tx:
            [row] = runs.all_runs(tx)
        assert row["state"] == "stopped"
        fill(disk)
        again = command(server, results, "run", "SPEC")
        assert ends_in_one_line(again)
        assert len(server.books) == asked, "no call is made whose answer cannot be stored"
        (disk / "filler").unlink()
        assert command(server, results, "run", "SPEC").exit_code in (0, 3)
        assert set(Counter(entry.body_hash for entry in server.books).values()) == {1}, "no answer is paid for twice"
    [folder] = [path.parent for path in results.glob("*/summary.json")]
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_commands_on_a_disk_that_cannot_be_written_end_in_one_line_and_leave_the_run_as_it_was(
    command: Command, disk: Path, fault: str
) -> None:
    results = disk / "results"
    with ProviderServer(think_apart) as server:
        assert command(server, results, "run", "SPEC").exit_code in (0, 3)
        [folder] = [path.parent for path in results.glob("*/summary.json")]
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        asked = len(server.books)
        fill(disk) if fault == "full" else subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for words in (["run", "SPEC", "--set", "name=other"], ["submit", "SPEC"], ["report", folder.name]):
            assert ends_in_one_line(command(server, results, *words))
        assert len(server.books) == asked
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
