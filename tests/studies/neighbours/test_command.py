"""`autointerp neighbours` from the command line: its page, its errors in one line, and its continuation after a stop."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from support.planted_world import layered

from autointerp.cli.main import main
from autointerp.progress import Progress
from autointerp.studies.command import carry_out
from autointerp.studies.given import Given
from autointerp.studies.neighbours import study
from sae.dictionary import Dictionary

FEATURES = 48
HOOK = f"resid_post.{layered.LAYERS - 1}"


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> layered.Deep:
    return layered.make(tmp_path_factory.mktemp("deep"))


@pytest.fixture(scope="module")
def dictionary(deep: layered.Deep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = torch.randn(FEATURES, deep.subject().d_model, generator=torch.Generator().manual_seed(0))
    random = Dictionary(
        W_enc=rows, b_enc=torch.zeros(FEATURES), W_dec=rows, b_dec=torch.zeros(rows.shape[1]), activation="relu",
        hook_point=HOOK, path="random",
    )  # fmt: skip
    return layered.save(tmp_path_factory.mktemp("dictionaries") / "random", random)


def neighbours(deep: layered.Deep, dictionary: Path, out: Path, *options: str) -> tuple[int, str, str]:
    command = ["neighbours", "--subject", str(deep.folder), "--dictionary", str(dictionary), "--out", str(out)]
    result = CliRunner().invoke(main, [*command, "--results", str(out.parent), "--quiet", *options])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_its_tables_map_and_page(deep: layered.Deep, dictionary: Path, tmp_path: Path) -> None:
    code, said, errors = neighbours(deep, dictionary, tmp_path / "out", "-k", "3")
    assert (code, errors) == (0, "")
    assert f"{FEATURES} features: the nearest other feature" in said
    assert pq.read_table(tmp_path / "out" / "neighbours.parquet").num_rows <= 3 * FEATURES
    page = (tmp_path / "out" / "study.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "around feature-" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--groups", "3,8"], "write numbers of groups"),
        (["--groups", "three"], "write numbers of groups"),
        (["--unit", "9999"], "does not exist"),
        (["--unit", "neuron-1+"], "is a neuron"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], words: str, deep: layered.Deep, dictionary: Path, tmp_path: Path
) -> None:
    code, _, errors = neighbours(deep, dictionary, tmp_path / "out", *options)
    assert code == 2
    assert words in errors
    assert errors.count("\n") == 1


def test_a_stopped_study_continues_with_the_nearest_lists_it_has(
    deep: layered.Deep, dictionary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    nearest = study.nearest_of_all
    monkeypatch.setattr(study, "nearest_of_all", lambda *settings: (calls.append(1), nearest(*settings))[1])
    given = Given(subject=str(deep.folder), dictionaries=(str(dictionary),), results=tmp_path, quiet=True)
    with Progress(quiet=True) as progress:
        with monkeypatch.context() as patch:
            patch.setattr(study, "labels_of", lambda *settings: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                carry_out(given, "neighbours", {}, progress)
        assert carry_out(given, "neighbours", {}, progress) is not None
    assert calls == [1]
