"""What is installed: extras that are missing, other packages of our names, and other operating systems."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.locations import ROOT

from autointerp import installation

HIDDEN = """
import sys
import click
sys.platform = {platform!r}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
POSIX_ONLY = {"fcntl", "termios", "tty", "pty", "grp", "pwd", "resource", "syslog"}
"""Modules of the standard library that Windows lacks."""


def without(hidden: set[str], code: str, platform: str = sys.platform) -> subprocess.CompletedProcess[str]:
    """Run code in a process that cannot import some modules."""
    code = HIDDEN.format(hidden=hidden, platform=platform) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def command(*arguments: str) -> str:
    """Code that calls the command line."""
    return f"from autointerp.cli.main import main\nmain({list(arguments)!r})"


def test_a_missing_extra_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    found = without({"celery", "redis"}, command("workers", "start", "--results", str(tmp_path)))
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "pip install 'autointerp-eval[service]'" in found.stderr


@pytest.mark.parametrize(
    ("package", "model"), [("anthropic", "anthropic/claude-haiku-4-5"), ("openai", "openai/gpt-5")]
)
def test_a_judge_whose_sdk_is_missing_names_its_extra(package: str, model: str) -> None:
    found = without({package}, command("judges", "check", model))
    assert f"{package} is not installed: pip install 'autointerp-eval[{package}]'" in found.stderr, found.stderr


def test_every_extra_is_one_of_the_project_and_brings_its_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    brought = {
        extra: {Requirement(line).name.replace("-", "_") for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }
    for package, extra in installation.EXTRAS.items():
        assert package == "kombu" or package in brought[extra]


def test_packages_of_the_same_name_and_windows_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.fault() is None
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "workers", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert f"another package of that name at {tmp_path / 'workers'}" in (installation.fault() or "")
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Windows is not supported" in (installation.fault() or "")


@pytest.mark.parametrize(
    "code",
    [
        command("run", "spec.toml"),
        command("doctor"),
        "import autointerp\nautointerp.evaluate",
        "from autointerp import Probe",
    ],
    ids=["run", "doctor", "attribute", "name"],
)
def test_windows_is_told_so_although_it_lacks_the_modules_of_posix(code: str) -> None:
    found = without(POSIX_ONLY, code, platform="win32")
    assert found.returncode == 1
    assert "Windows is not supported" in found.stderr.splitlines()[-1]
    assert "No module named" not in found.stderr


def test_the_wheel_has_no_top_level_package_whose_name_is_not_checked() -> None:
    """`sae` and `workers` lie beside `autointerp`, as in the tree; another package of these names is refused when the program starts."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["autointerp", *installation.PACKAGES]
    assert wheel["force-include"] == {"rubrics": "rubrics"}, (
        "data, found by its place beside autointerp and never imported"
    )
