"""Exports that cannot be made are refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.locations import ROOT
from support.results import summaries

from autointerp.cli.export import export
from autointerp.exports.targets import TARGETS


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    summaries.make(folder / "demo-1", n_features=3, n_neurons=2)
    (folder / "begun-1").mkdir()
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "--to", "csv"], "there is no run 'none'"),
        (["begun-1", "--to", "csv"], "holds no summary.json, so the run is not finished"),
        (["demo-1", "--to", "hub"], "--to hub needs --name: give OWNER/DATASET"),
        (["demo-1", "--to", "hub", "--name", "me/mine", "--out", "x"], "--out has no meaning with --to hub"),
        (["demo-1", "--to", "csv", "--name", "x"], "--name has no meaning with --to csv: remove it"),
        (["demo-1", "--to", "csv", "--public"], "--public has no meaning with --to csv"),
    ],
)
def test_what_cannot_be_exported_is_refused(results: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(export, [*arguments, "--results", str(results)])
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "autointerp.exports.wandb_run", raising=False)
    done = CliRunner().invoke(export, ["demo-1", "--to", "wandb", "--results", str(results)])
    assert done.exit_code == 2
    assert done.output == "autointerp: --to wandb needs wandb, which is not installed: pip install wandb\n"


def test_every_format_has_its_module_and_a_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    for target in TARGETS.values():
        assert (ROOT / "autointerp" / "exports" / f"{target.module}.py").is_file()
        assert f"| `{target.name}` |" in page
