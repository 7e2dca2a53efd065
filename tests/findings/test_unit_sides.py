"""Both sides of the units through a whole run: columns, summary, report, and the same again from the stored files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from support.locations import ROOT
from support.planted_world import two_sided

from autointerp.cli.main import main
from autointerp.findings.unit_sides import CLASSES
from autointerp.harvest.unit_sides import COLUMNS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_reports_both_sides_of_its_units(tmp_path: Path) -> None:
    world = two_sided.make(tmp_path / "world", each=2, documents=120)
    spec = world.spec(
        units={"neurons": 4}, score={"per_bin": 1}, controls={"shuffled": 1, "base_rate": 1, "repeated": 0}
    )
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    done = CliRunner().invoke(main, ["run", str(tmp_path / "spec.toml"), "--results", str(tmp_path / "r"), "--quiet"])
    assert done.exit_code in (0, 3), done.output
    [folder] = (path.parent for path in (tmp_path / "r").glob("*/summary.json"))
    units = pd.read_parquet(folder / "units.parquet")
    assert set(COLUMNS) <= set(units)
    summary = json.loads((folder / "summary.json").read_text())
    Draft202012Validator(json.loads((ROOT / "docs" / "summary.schema.json").read_text())).validate(summary)
    for kind in ("feature", "neuron"):
        sides, of_kind = summary["two_sided"][kind], units.loc[units["kind"] == kind]
        assert sides["n"] + sides["not_measured"] == len(of_kind)
        assert {side: sides[side] for side in CLASSES} == {side: (of_kind["side"] == side).sum() for side in CLASSES}
        assert sum(sides["grades"][side]["n"] for side in CLASSES) <= len(of_kind)
    features = summary["two_sided"]["feature"]
    assert features["by_clamp"]["named"]["mean"] == pytest.approx(units["output_precision"].head(8).mean())
    assert features["output"] + features["both"] >= 3
    assert summary["two_sided"]["neuron"]["output"] == 0, "neurons whose output weights are 0 say nothing"
    said = next(unit for unit in units.itertuples() if unit.side in ("output", "both"))
    for report in ("report.html", "report.md"):
        text = (folder / report).read_text("utf-8")
        assert "makes the model say" in text
        assert said.raised[0].strip() in text
    before = units
    done = CliRunner().invoke(main, ["report", folder.name, "--results", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "units.parquet"), before)
