"""Figures for papers: their files, sizes and text, and what is said if matplotlib is missing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.packages import needed
from support.results import summaries as report_data

from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.report import paper_figures

TOLD = {"value": 0.8, "ci_low": 0.7, "ci_high": 0.9, "why": None, "chance": 0.25, "n_units": 9, "n_undefined": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("results") / "run-1"
    summary = report_data.make(made, n_features=4, n_neurons=4, bins=4, per_bin=2, knows="sharp")
    summary["distinction"] = {"feature": TOLD, "neuron": TOLD | {"value": 0.3, "ci_low": None, "ci_high": None}}
    (made / "summary.json").write_text(json.dumps(summary), "utf-8")
    return made


def test_without_matplotlib_one_line_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(
        main, ["figures", folder.name, "--results", str(folder.parent), "--to", str(tmp_path / "to")]
    )
    assert result.exit_code == 2
    assert result.stderr == "autointerp: figures need matplotlib: pip install 'autointerp-eval[figures]'\n"
    assert not (tmp_path / "to").exists()


def test_an_unknown_format_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'gif': use pdf, svg, png"):
        paper_figures.write(folder, tmp_path, "gif")


@pytest.mark.peers
@pytest.mark.parametrize("format", paper_figures.FORMATS)
def test_figures_are_a_column_or_a_page_wide_and_the_same_every_time(folder: Path, tmp_path: Path, format: str) -> None:
    needed("matplotlib")
    paths = paper_figures.write(folder, tmp_path / "a", format)
    assert [path.stem for path in paths] == ["curve", "grades", "controls", "distinction"]
    again = paper_figures.write(folder, tmp_path / "b", format)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    if format == "svg":
        widths = [float(re.findall(r'<svg[^>]* width="([\d.]+)pt"', path.read_text("utf-8"))[0]) / 72 for path in paths]
        assert widths == pytest.approx([3.25, 6.75, 3.25, 3.25])
        texts = [path.read_text("utf-8") for path in paths]
        assert "mean grade" in texts[0]
        assert "Features" in texts[1]
        assert "Windows of neighbours" not in texts[2]
        assert all(name in texts[2] for name in ("features", "neurons", "planted units"))
        assert "share told from the nearest neighbours" in texts[3]
        assert "chance level" in texts[3]
        assert all("Explained and graded by the embedded baseline, not an LLM." in text for text in texts)


@pytest.mark.peers
def test_a_run_without_neurons_or_grades_has_the_figures_that_it_can_have(folder: Path, tmp_path: Path) -> None:
    needed("matplotlib")
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    summary["bins"] = [row for row in summary["bins"] if row["kind"] == "feature"]
    del summary["distinction"], summary["evidence"]
    (tmp_path / "summary.json").write_text(json.dumps(summary), "utf-8")
    result = CliRunner().invoke(main, ["figures", tmp_path.name, "--results", str(tmp_path.parent), "--format", "svg"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["controls.svg", "curve.svg", "grades.svg"]
    assert "neurons" not in (tmp_path / "figures" / "curve.svg").read_text("utf-8")
