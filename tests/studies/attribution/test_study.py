"""`autointerp attribute` on a subject with known circuits."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.planted_world import circuits
from support.planted_world.circuits import Circuits

from autointerp.cli.main import main
from autointerp.progress import Progress
from autointerp.studies.attribution import study
from autointerp.studies.command import carry_out
from autointerp.studies.given import Given

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Circuits:
    return circuits.make(tmp_path_factory.mktemp("circuits"))


@pytest.fixture(scope="module")
def prompt(world: Circuits) -> str:
    return world.prompt(1, random.Random(0), also=2)


def attribute(world: Circuits, prompt: str, out: Path, *options: str, places: tuple[int, ...] = (0, 1, 2)) -> Result:
    named = [part for place in places for part in ("--dictionary", str(world.dictionaries[place]))]
    arguments = ["attribute", prompt, "--subject", str(world.subject), *named, "--out", str(out), "--quiet", *options]
    return CliRunner().invoke(main, arguments)


def found(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "study.json").read_text())["values"]
    return values


ANSWER = ("--target", "answer1", "--against", "answer2")


def test_the_tables_the_graph_and_its_grade(world: Circuits, prompt: str, tmp_path: Path) -> None:
    result = attribute(world, prompt, tmp_path, *ANSWER, "--ablations", "200")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("The logit of 'answer1' is +")
    attribution, ablation, nodes, edges = (
        pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("attribution", "ablation", "nodes", "edges")
    )
    assert set(attribution["dictionary"]) == {"resid_post.0", "resid_post.1", "resid_post.2"}
    assert (attribution["position"] > 0).all()
    assert len(ablation) == len(attribution)
    last = ablation[ablation["dictionary"] == "resid_post.2"].iloc[0]
    assert (last["feature"], last["ablation"]) == (1, pytest.approx(last["attribution"], rel=0.02))
    assert {"resid_post.2:feature-1", "resid_post.1:feature-2", "resid_post.1:feature-3"} <= set(nodes["name"])
    assert (edges["target"] == "logit of 'answer1'").any()
    values = found(tmp_path)
    assert values["dictionaries"]["resid_post.0"]["attribution_ablation"] > 0.95
    assert values["interchange"]["effect"] > 0.9 * values["difference"]
    assert max(values["interchange"]["random"]) < values["interchange"]["effect"] / 2
    assert (tmp_path / "graph.svg").read_text().startswith("<svg")


def test_one_dictionary_and_the_mean_logit(world: Circuits, prompt: str, tmp_path: Path) -> None:
    result = attribute(world, prompt, tmp_path, "--target", "answer1", places=(1,))
    assert result.exit_code == 0, result.output
    assert "relative to the mean logit" in result.output
    assert set(pd.read_parquet(tmp_path / "nodes.parquet")["name"]) >= {"feature-2", "feature-3"}


def test_a_stopped_study_continues_with_what_it_has_measured(
    world: Circuits, prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    measure = study.differences_without

    def stopped(*arguments: Any, **options: Any) -> Any:
        asked.append(len(arguments[2]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(study, "differences_without", stopped)
    given = Given(subject=str(world.subject), dictionaries=tuple(map(str, world.dictionaries[:2])), out=tmp_path)
    settings = {"prompt": prompt, "target": "answer1", "ablations": 8}
    with pytest.raises(KeyboardInterrupt), Progress(quiet=True) as progress:
        carry_out(given, "attribute", settings, progress)
    with Progress(quiet=True) as progress:
        again = carry_out(given, "attribute", settings, progress)
    assert again is not None
    assert again.values["values"]["interchange"]["size"] > 0
    assert len(asked) == 4  # two dictionaries and the random groups; the second dictionary was measured again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "answer1 answer2"), "is 2 tokens of"),
        (("--target", "answer1", "--against", ""), "is 0 tokens of"),
    ],
)
def test_a_target_of_several_tokens_is_refused_in_one_line(
    world: Circuits, prompt: str, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = attribute(world, prompt, tmp_path, *options, places=(1,))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert message in result.output


@pytest.mark.parametrize(("words", "message"), [(80, "has 80 tokens, and at most 63 are read"), (0, "too few tokens")])
def test_a_prompt_too_long_or_empty_is_refused_in_one_line(
    world: Circuits, tmp_path: Path, words: int, message: str
) -> None:
    result = attribute(world, " ".join(["filler1"] * words), tmp_path, *ANSWER, places=(1,))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert message in result.output


def test_two_dictionaries_of_one_place_are_refused_in_one_line(world: Circuits, prompt: str, tmp_path: Path) -> None:
    result = attribute(world, prompt, tmp_path, *ANSWER, places=(1, 1))
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "both stand for resid_post.1" in result.output
