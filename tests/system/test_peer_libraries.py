"""How the libraries that write dictionaries in the tests are installed, with a pip that is made to answer here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sae import peers

Pip = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(peers, "PINS", tmp_path)
    monkeypatch.setattr(peers, "INSTALLED", tmp_path / "installed")
    (tmp_path / "lib.txt").write_text("lib==1\n")
    return tmp_path / "lib.txt"


def pip(code: int, calls: list[list[str]]) -> Pip:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("--target") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "module.py").write_text("")
        return subprocess.CompletedProcess(command, code, "", "Looking\nno network" if code else "")

    return run


def test_a_library_is_installed_once_and_again_if_its_pins_change(monkeypatch: pytest.MonkeyPatch, pins: Path) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", pip(0, calls))
    folder = peers.install("lib")
    assert peers.install("lib") == folder
    assert len(calls) == 1
    assert "--no-deps" in calls[0]
    (folder / "stale.py").write_text("")
    pins.write_text("lib==2\n")
    peers.install("lib")
    assert len(calls) == 2
    assert not (folder / "stale.py").exists()


def test_an_interrupted_installation_is_repeated(monkeypatch: pytest.MonkeyPatch, pins: Path) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", pip(1, calls))
    with pytest.raises(peers.NotToBeHadError, match="lib: no network"):
        peers.install("lib")
    monkeypatch.setattr(subprocess, "run", pip(0, calls))
    peers.install("lib")
    assert len(calls) == 2


def test_without_a_network_a_test_is_skipped_but_not_under_ci(monkeypatch: pytest.MonkeyPatch, pins: Path) -> None:
    monkeypatch.setattr(subprocess, "run", pip(1, []))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network"):
        peers.run("lib", Path("write_lib.py"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no network"):
        peers.run("lib", Path("write_lib.py"))


def test_installing_ahead_reports_missing_libraries(
    monkeypatch: pytest.MonkeyPatch, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", pip(0, []))
    assert peers.main([]) == 0
    (pins.parent / "other.txt").write_text("other==1\n")
    monkeypatch.setattr(subprocess, "run", pip(1, []))
    assert peers.main([]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["  lib", "  other: no network"]
