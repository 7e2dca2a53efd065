"""The training file: its tables, the configurations that they become, and the files of a sweep."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from support.sae.scaling_grid import FEATURES, RATES, TOKENS, planted

from autointerp.cli.main import main
from autointerp.dictionaries import scaling_report, training_file
from autointerp.errors import UsageError
from sae.training.scaling_laws import fit
from sae.training.trainer import TrainConfig

HEAD = 'hook_point = "attn_out.1"\n[subject]\nmodel = "nobody/nothing"\n[corpus]\nsources = ["*.txt"]\n'


def loaded(tmp_path: Path, body: str) -> training_file.Training:
    path = tmp_path / "train.toml"
    path.write_text(HEAD + body)
    return training_file.load(path)


def test_a_single_dictionary_goes_into_the_folder_itself(tmp_path: Path) -> None:
    file = loaded(tmp_path, "[train]\nk = 8\nprefixes = [4, 9]\narchitecture = 'matryoshka'\nlr = 1\n")
    expected = TrainConfig(architecture="matryoshka", k=8, prefixes=(4, 9), lr=1.0)
    assert file.configs(tmp_path) == {tmp_path: expected}


def test_dictionary_tables_replace_keys_of_train(tmp_path: Path) -> None:
    tables = "[train]\nk = 8\n[[dictionary]]\nname = 'a'\n[[dictionary]]\nname = 'b'\nk = 9\n"
    base = TrainConfig(k=8)
    assert loaded(tmp_path, tables).configs(Path("out")) == {Path("out/a"): base, Path("out/b"): replace(base, k=9)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[train]\nkk = 1\n", "train: unknown key kk = 1: did you mean k?"),
        ("[train]\nk = 1.5\n", "train: k = 1.5"),
        ("[train]\narchitecture = 'l1'\n", "train: architecture = 'l1'"),
        ("[[dictionary]]\nk = 1\n", "dictionary.name = None"),
        ("[[dictionary]]\nname = '../x'\n", "dictionary.name = '../x'"),
        ("[[dictionary]]\nname = 'a'\n[[dictionary]]\nname = 'a'\n", "'a' occurs twice"),
        ("[[dictionary]]\nname = 'a'\nlr = 'x'\n", "dictionary a: lr = 'x'"),
    ],
)
def test_errors_for_wrong_tables_are_one_line(body: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        loaded(tmp_path, body).configs(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_needs_its_table_and_excludes_dictionary_tables(tmp_path: Path) -> None:
    lists = "[sweep]\nd_sae = [8]\ntokens = [1]\nlr = [1e-3]\n"
    assert loaded(tmp_path, lists).grid().d_sae == (8,)
    with pytest.raises(UsageError, match="needs a table"):
        loaded(tmp_path, "").grid()
    with pytest.raises(UsageError, match="cannot be combined"):
        loaded(tmp_path, "[[dictionary]]\nname = 'a'\n" + lists).grid()
    with pytest.raises(UsageError, match=r"sweep\.lr"):
        loaded(tmp_path, lists.replace("[1e-3]", "[]"))
    result = CliRunner().invoke(main, ["train", str(tmp_path / "train.toml"), "--out", "x", "--sweep", "--quiet"])
    assert result.exit_code == 2
    assert result.stderr.startswith("autointerp: ")


@pytest.mark.parametrize("small", [False, True], ids=["laws", "withheld"])
def test_a_sweep_writes_json_csv_and_a_figure(small: bool, tmp_path: Path) -> None:
    cells = planted(FEATURES[:2], TOKENS[:2], RATES[:1]) if small else planted(FEATURES, TOKENS, RATES)
    found = fit(cells)
    scaling_report.write(tmp_path, cells, found, "Scaling <of> this")
    data = json.loads((tmp_path / "sweep.json").read_text())
    assert ("withheld" in data["laws"]["features"]) == small
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [cell["loss"] for cell in data["cells"]]
    root = ElementTree.fromstring((tmp_path / "sweep.svg").read_text())
    words = " ".join("".join(element.itertext()) for element in root.iter())
    assert "Scaling <of> this" in words
    for sentence in scaling_report.sentences(found):
        assert sentence in words
    assert ("withheld" in words) == small
    drawn = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert len(drawn) == (2 if small else 6 + len(found.optima) + 4)
