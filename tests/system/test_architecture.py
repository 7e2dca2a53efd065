"""The floors hold: which folder may import which, how large a module is, and where a module is imported inside a function."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.locations import ROOT

PACKAGES = ("autointerp", "sae", "workers")
MOST_LINES = 350
MOST_MODULES = 20
MOST_LATE_IMPORTS = 48
LATE_IMPORTS = {
    "autointerp/cli",  # commands that need torch or pandas
    "autointerp/demo/spec.py",
    "autointerp/explorer/web/desk.py",  # torch, which no page needs
    "autointerp/judges",  # SDKs, llama.cpp, word vectors
    "autointerp/ledger/database.py",  # Alembic
    "autointerp/monitoring/doctor.py",  # torch, whose absence it reports
    "autointerp/nightly",
    "autointerp/pipeline",
    "sae/corpus/sources.py",  # datasets
    "workers",
}
"""Where a function may import: what it imports takes seconds (torch, an SDK), or need not be installed."""


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_code_keeps_to_the_floors() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("autointerp/stats/comparison.py", "import autointerp.report.figures.svg\n", "go down the floors"),
        ("autointerp/records.py", "def late():\n    import autointerp.cli.main\n", "go down the floors"),
        ("sae/dictionary.py", "import autointerp.records\n", "which calls sae"),
        ("autointerp/harvest/plan.py", "import autointerp.stats.comparison\n", "in a circle"),
    ],
    ids=["upward", "upward in a function", "sae calls autointerp", "circle"],
)
def test_a_wrong_import_fails_the_check(copy: Path, module: str, line: str, broken: str) -> None:
    path = copy / module
    before = path.read_text(encoding="utf-8")
    other = copy / "autointerp/stats/comparison.py"
    other_before = other.read_text(encoding="utf-8")
    try:
        path.write_text(before + "\n" + line, encoding="utf-8")
        if broken == "in a circle":
            other.write_text(other_before + "\nimport autointerp.harvest.plan\n", encoding="utf-8")
        done = lint_imports(copy)
    finally:
        path.write_text(before, encoding="utf-8")
        other.write_text(other_before, encoding="utf-8")
    assert done.returncode == 1
    [contract] = [text for text in done.stdout.splitlines() if text.endswith("BROKEN") and broken in text]
    assert contract


def test_functions_import_only_in_known_places() -> None:
    late = []
    for path in modules():
        functions = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)]
        inside = {n.lineno for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)}
        late += [f"{path.relative_to(ROOT).as_posix()}:{line}" for line in sorted(inside)]
    assert [place for place in late if not place.startswith(tuple(LATE_IMPORTS))] == []
    assert 0 < len(late) <= MOST_LATE_IMPORTS


def test_modules_are_short_and_folders_are_small() -> None:
    long = {
        path.name: n for path in modules() if (n := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert long == {}
    folders = {path.parent for path in modules()}
    wide = {f.name: n for f in folders if (n := len([*f.glob("*.py")]) - (f / "__init__.py").exists()) > MOST_MODULES}
    assert wide == {}


def page() -> str:
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of docs/architecture.md, without its header."""
    section = page().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_path_on_the_page_exists() -> None:
    changes = rows("To change X, open Y")
    assert len(changes) >= 20
    for _, where in changes:
        paths = re.findall(r"`([^`]+)`", where)
        assert paths
        assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_every_room_is_on_the_page() -> None:
    listed = {cells[0].strip("`") for cells in rows("Rooms")}
    rooms = {p.parent.relative_to(ROOT).as_posix() for p in ROOT.glob("autointerp/*/__init__.py")}
    rooms |= {p.parent.relative_to(ROOT).as_posix() for p in ROOT.glob("sae/*/__init__.py")}
    assert listed == rooms | {"workers", "rubrics"}


def test_the_floors_on_the_page_are_the_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    floors = [set(floor.replace(":", " ").split()) for floor in contracts[0]["layers"]]
    drawn = page().split("\n## Floors\n")[1].split("```text\n")[1].split("```")[0]
    assert [set(line.split()) for line in drawn.splitlines()] == floors[1:]


def test_small_modules_are_named_and_no_others() -> None:
    small = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if path.name != "__init__.py" and len(path.read_text(encoding="utf-8").splitlines()) < 30
    }
    assert {cells[0].strip("`") for cells in rows("Small modules")} == small
