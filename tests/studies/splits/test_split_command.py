"""`autointerp split` on dictionaries whose trees, twins and absorbers are known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.planted_world import nested
from support.planted_world import world as planted
from support.planted_world.world import World
from support.providers.server import ProviderServer

from autointerp.cli.main import main
from autointerp.progress import Progress
from autointerp.studies.command import carry_out
from autointerp.studies.given import Given
from autointerp.studies.splits import stability
from autointerp.studies.splits.compared import Compared
from sae.studies import firing, matching

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=60)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dictionaries")
    features = {"small": nested.SMALL, "large": nested.LARGE, "other": nested.OTHER}
    return {name: nested.save(folder / name, rows) for name, rows in features.items()}


def split(world: World, dictionaries: list[Path], out: Path, *options: str) -> Result:
    named = [part for path in dictionaries for part in ("--dictionary", str(path))]
    inputs = ["--subject", str(world.subject), "--corpus", str(world.corpus), "--out", str(out), "--quiet"]
    return CliRunner().invoke(main, ["split", *inputs, *named, *options])


@pytest.fixture(scope="module")
def found(world: World, paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found")
    result = split(world, [paths["large"], paths["small"], paths["other"]], out)
    assert result.exit_code == 0, result.output
    return out


def read(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / f"{name}.parquet")


def values(out: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((out / "study.json").read_text())
    return contents


def test_the_tree_is_exact(found: Path) -> None:
    tree: dict[int, set[int]] = {}
    for parent, child in zip(*(read(found, "tree")[name] for name in ("parent", "child")), strict=True):
        tree.setdefault(int(parent.rpartition("-")[2]), set()).add(int(child.rpartition("-")[2]))
    assert tree == nested.TREE
    (level,) = values(found)["values"]["splitting"]
    assert (level["split"], level["one"], level["lost"], level["new"]) == (4, 1, 1, 4)
    assert level["children"] == [1, 1, 2, 1, 0, 0, 1]
    assert read(found, "splits")["n_children"].tolist() == [6, 3, 2, 2]
    assert (read(found, "splits")["covered"] > 0.99).all()


def test_features_are_counted_in_the_dictionaries_in_which_they_are_found(found: Path) -> None:
    stability = read(found, "stability")
    small = stability[stability["dictionary"] == f"{nested.HOOK}/6/1"].set_index("unit_id")["found_in"]
    assert small.to_dict() == {f"feature-{i}": n for i, n in enumerate([1, 1, 2, 2, 1, 0])}
    assert set(stability["of"]) == {2}


def test_the_absorber_is_found_and_its_text_is_shown(found: Path) -> None:
    absorption = read(found, "absorption")
    assert set(zip(absorption["unit_id"], absorption["absorber"], strict=True)) == nested.ABSORBED
    (row,) = absorption.to_dict("records")
    assert row["n_missed"] == row["n_absorbed"]
    assert row["inside"] == 1
    assert "<<" in row["example"]
    assert "filler23>>" in row["example"]


def test_sentences_and_pictures(found: Path) -> None:
    sentences = "\n".join(values(found)["sentences"])
    assert "of 6 features, 4 split into two or more (at most 6), 1 stay one, and 1 have no child" in sentences
    assert "1 feature with 1 absorber" in sentences
    tree = (found / "tree.svg").read_text()
    assert tree.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "“filler23”" in tree  # features without an explanation are shown by their strongest tokens
    assert "found in 2 of 2" in (found / "stability.svg").read_text()


def test_seeds_of_one_size_have_no_tree(world: World, paths: dict[str, Path], tmp_path: Path) -> None:
    result = split(world, [paths["small"], paths["other"]], tmp_path, "--tokens", "4000")
    assert result.exit_code == 0, result.output
    assert "one size, so there is no tree" in result.output
    assert "found again in the other dictionary" in result.output
    assert read(tmp_path, "tree").empty


def test_grades_of_all_and_of_stable_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stability, "read_summary", lambda run: SimpleNamespace(rubric=SimpleNamespace(grades=(0, 1, 2, 3)))
    )
    compared: Any = SimpleNamespace(
        studied=[SimpleNamespace(name="a", run=tmp_path), SimpleNamespace(name="b", run=None)]
    )
    grades = [2.0, 2.1, 2.2, 2.3, 0.4, 0.5, None]
    table = pd.DataFrame({"dictionary": "a", "mean_score": grades, "found_in": [1, 1, 1, 1, 0, 0, 1], "of": 1})
    (row,) = stability.headlines(compared, table)
    assert (row["all"]["n"], row["stable"]["n"]) == (6, 4)
    assert row["stable"]["mean"] == pytest.approx(2.15)
    assert row["all"]["mean"] == pytest.approx(1.583, abs=1e-3)
    assert row["stable"]["low"] < 2.15 < row["stable"]["high"]


def test_a_judge_says_whether_the_explanation_holds(
    world: World, paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compared, "explanation", lambda self, number, feature: f"words of {feature}")
    asked: list[str] = []

    def brain(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        asked.append(user)
        return {"reason": "it is", "holds": "filler23>>" in user}

    with ProviderServer(brain=brain) as server:
        keys = [f"judge.base_url={server.url}/v1", "judge.system_role=true", "judge.json=schema"]
        options = ["--judge", "openai-compatible/small", "--results", str(tmp_path), "--yes"]
        options += [part for key in keys for part in ("--set", key)]
        out = tmp_path / "out"
        dry = split(world, [paths["large"], paths["small"]], out, *options, "--dry-run")
        assert (dry.exit_code, asked) == (0, []), dry.output
        assert dry.output.startswith("3 questions to openai-compatible/small: 3 calls")
        result = split(world, [paths["large"], paths["small"]], out, *options)
    assert result.exit_code == 0, result.output
    assert read(out, "absorption")["held"].tolist() == [1.0]
    assert len(asked) == 3
    assert "words of 10" in asked[0]


def test_a_probe_of_texts_is_a_witness_where_no_dictionary_is_one(
    world: World, paths: dict[str, Path], tmp_path: Path
) -> None:
    elsewhere = nested.save(tmp_path / "elsewhere", [nested.Feature((44, 45, 46))])
    concept = range(18, 24)  # feature 10 of the larger one stands for it, but is silent at the last of these words
    others = [word for word in range(planted.FILLERS) if word not in concept]
    for name, words in (("with", [*concept] * 9), ("without", others)):
        (tmp_path / name).write_text("\n".join(f"filler{i % 17} filler{word}" for i, word in enumerate(words)))
    dictionaries = [paths["large"], elsewhere]
    assert split(world, dictionaries, tmp_path / "none").exit_code == 0
    assert read(tmp_path / "none", "absorption").empty
    out = tmp_path / "out"
    result = split(world, dictionaries, out, "--witness-texts", str(tmp_path / "with"), str(tmp_path / "without"))
    assert result.exit_code == 0, result.output
    (row,) = read(out, "absorption").to_dict("records")
    assert (row["unit_id"], row["absorber"], row["witness"]) == ("feature-10", "feature-11", "probe of the texts")
    assert row["n_missed"] == row["n_absorbed"]
    assert "filler23>>" in row["example"]
    assert values(out)["values"]["probe_accuracy"] >= 0.95
    assert "It is a witness of the feature whose firing agrees best with it: " in result.output


def test_a_stopped_study_reads_the_text_once(
    world: World, paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read_firings, match = firing.read, matching.match

    def counted(*arguments: Any, **options: Any) -> Any:
        reads.append(1)
        return read_firings(*arguments, **options)

    def stopped(*arguments: Any) -> Any:
        monkeypatch.setattr(matching, "match", match)
        raise KeyboardInterrupt

    monkeypatch.setattr(firing, "read", counted)
    monkeypatch.setattr(matching, "match", stopped)
    given = Given(
        subject=str(world.subject), dictionaries=(str(paths["small"]), str(paths["other"])), corpus=(str(world.corpus),), out=tmp_path
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt), Progress(quiet=True) as progress:
        carry_out(given, "split", {}, progress)
    with Progress(quiet=True) as progress:
        assert carry_out(given, "split", {}, progress) is not None
    assert reads == [1]


def test_dictionaries_that_cannot_be_compared_are_refused_in_one_line(
    world: World, paths: dict[str, Path], tmp_path: Path
) -> None:
    elsewhere = nested.save(tmp_path / "elsewhere", nested.SMALL, "resid_post.0")
    for dictionaries, message in (
        ([paths["small"]], "give two or more"),
        ([paths["small"], paths["small"]], "are the same dictionary"),
        ([paths["small"], elsewhere], "dictionaries of one place"),
    ):
        result = split(world, dictionaries, tmp_path / "out")
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        assert message in result.output
