"""A run's tables as CSV are complete, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
from click.testing import CliRunner
from support.results import summaries

from autointerp.cli.export import export
from autointerp.exports.run_tables import RunTables
from autointerp.prompts.given_explanations import explanations_from


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_written_and_read_back(tmp_path: Path) -> None:
    summaries.make(tmp_path / "demo-1", n_features=4, n_neurons=3, knows="sharp")
    done = CliRunner().invoke(export, ["demo-1", "--to", "csv", "--results", str(tmp_path)], catch_exceptions=False)
    out = tmp_path / "demo-1" / "exports" / "csv"
    assert (done.exit_code, done.output.strip()) == (0, str(out))
    run = RunTables.read(tmp_path / "demo-1")
    assert {path.stem for path in out.iterdir()} == {"units", "explanations", "judgements", "exemplars"}
    for name, table in (("units", run.units), ("exemplars", run.exemplars), ("judgements", run.judgements)):
        assert len(rows(out / f"{name}.csv")) == len(table)
    [first, *_] = rows(out / "exemplars.csv")
    assert json.loads(first["tokens"]) == run.exemplars[0]["tokens"]
    assert first["text"] == "".join(run.exemplars[0]["tokens"])
    assert {row["sign"] for row in rows(out / "units.csv")} == {
        unit["sign"] for unit in run.units if unit["sign"] is not None
    }
    ungraded = [row for row in rows(out / "judgements.csv") if row["outcome"] != "scored"]
    assert ungraded
    assert {row["score"] for row in ungraded} == {""}
    given = explanations_from(out / "units.csv")
    assert given == {
        u["unit_id"]: " ".join(u["explanation"].split())
        for u in run.units
        if u["explanation"] and u["kind"] in ("feature", "neuron")
    }


def test_no_cell_acts_as_a_formula(tmp_path: Path) -> None:
    summaries.make(tmp_path / "demo-1", n_features=3, n_neurons=2)
    run = RunTables.read(tmp_path / "demo-1")
    units = pd.DataFrame(run.units)
    units.loc[0, "explanation"] = "=HYPERLINK(A1)"
    units.to_parquet(tmp_path / "demo-1" / "units.parquet")
    CliRunner().invoke(export, [str(tmp_path / "demo-1"), "--to", "csv", "--out", str(tmp_path / "out")])
    assert rows(tmp_path / "out" / "units.csv")[0]["explanation"] == "'=HYPERLINK(A1)"
