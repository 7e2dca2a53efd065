"""A matrix: one file, a spec for each combination of the values that it lists, and errors in one line that name the cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.errors import UsageError
from autointerp.spec.matrix import read
from autointerp.spec.spec import load

BASE = """
name = "grid"
[subject]
model = "subject"
[dictionary]
path = "unused"
hook_point = "resid_post.1"
[corpus]
sources = ["text.jsonl"]
"""
MATRIX = """
[matrix]
dictionary = [{ path = "org/Small_16k" }, { path = "org/large", hook_point = "resid_post.2" }]
judge.model = ["embedded", "openai/gpt-5-mini"]
"""


def written(tmp_path: Path, matrix: str) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(BASE + matrix)
    return path


def test_every_combination_is_a_spec_named_after_its_values(tmp_path: Path) -> None:
    cells = read(written(tmp_path, MATRIX))
    of_cells = [(c.spec.name, c.spec.dictionary.path, c.spec.dictionary.hook_point, c.spec.judge.model) for c in cells]
    assert of_cells == [
        ("grid.small_16k.embedded", "org/Small_16k", "resid_post.1", "embedded"),
        ("grid.small_16k.gpt-5-mini", "org/Small_16k", "resid_post.1", "openai/gpt-5-mini"),
        ("grid.large.embedded", "org/large", "resid_post.2", "embedded"),
        ("grid.large.gpt-5-mini", "org/large", "resid_post.2", "openai/gpt-5-mini"),
    ]
    assert cells[3].label == "dictionary = org/large, judge.model = openai/gpt-5-mini"
    assert (cells[3].along("dictionary"), cells[3].along("judge")) == ("org/large", "openai/gpt-5-mini")


def test_another_value_leaves_the_other_specs_as_they_are(tmp_path: Path) -> None:
    before = {cell.spec.hash() for cell in read(written(tmp_path, MATRIX))}
    more = MATRIX.replace('"embedded"', '"embedded", "openai/gpt-5"')
    assert len(before & {cell.spec.hash() for cell in read(written(tmp_path, more))}) == 4


def test_a_cell_is_read_as_a_file_with_the_same_keys_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    cell = read(written(tmp_path, "[matrix]\ndictionary.path = ['mine']\njudge = [{ concurrency = 3 }]"))[0]
    alone = tmp_path / "alone.toml"
    alone.write_text(BASE.replace('"grid"', '"grid.mine.3"').replace('"unused"', '"mine"') + "[judge]\nconcurrency = 3")
    assert cell.spec == load(alone)
    assert cell.spec.dictionary.path == str(tmp_path / "mine")


def test_values_with_the_same_path_are_told_apart_by_their_other_keys(tmp_path: Path) -> None:
    hooks = ", ".join(f"{{ path = 'org/large', hook_point = 'resid_post.{layer}' }}" for layer in (1, 2))
    cells = read(written(tmp_path, f"[matrix]\ndictionary = [{hooks}]"))
    assert [cell.along("dictionary") for cell in cells] == ["org/large resid_post.1", "org/large resid_post.2"]
    assert {cell.spec.name for cell in cells} == {"grid.large"}


def test_a_file_without_a_matrix_is_its_own_single_spec(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    [cell] = read(path, ["units.features=3"])
    assert (cell.spec, cell.label, dict(cell.values)) == (load(path, ["units.features=3"]), "grid", {})


@pytest.mark.parametrize(
    ("matrix", "overrides", "message"),
    [
        ("[matrix]", [], "[matrix] lists no values: give keys lists"),
        ("matrix = 3", [], "[matrix] lists no values: give keys lists"),
        ("[matrix]\njudge.model = []", [], "matrix.judge.model = [] is empty: list the values"),
        ("[matrix]\njudge.model = 'embedded'", [], "matrix.judge.model = 'embedded' is not a list"),
        ("[matrix]\njudge = ['embedded']", [], "matrix.judge lists 'embedded', which is not a table"),
        ("[matrix]\nname = ['a']", [], "matrix.name lists 'a', which is not a table"),
        (
            "[matrix]\njudge.modle = ['embedded']",
            [],
            "the cell judge.modle = embedded: spec: unknown key judge.modle = 'embedded': did you mean model?",
        ),
        (
            "[matrix]\nharvest.bins = [4, 1]\njudge.model = ['embedded']",
            [],
            "the cell harvest.bins = 1, judge.model = embedded: spec: harvest.bins = 1: input should be greater",
        ),
        ("[matrix]\nharvest.bins = [4, 4]", [], "the cell harvest.bins = 4 is there twice"),
        ("[matrix]\nharvest.bins = [4, 5]", ["harvest.bins=6"], "the matrix sets harvest.bins in every cell"),
    ],
)
def test_a_wrong_matrix_is_refused_in_one_line(tmp_path: Path, matrix: str, overrides: list[str], message: str) -> None:
    path = written(tmp_path, matrix)
    if matrix.startswith("matrix ="):
        path.write_text(matrix + "\n" + BASE)
    with pytest.raises(UsageError) as refused:
        read(path, overrides)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_command_that_takes_one_spec_names_the_matrix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a matrix of specs, and one is needed"):
        load(written(tmp_path, MATRIX))
