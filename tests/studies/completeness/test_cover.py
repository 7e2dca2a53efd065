"""`autointerp cover` on the planted world: concepts with features of their own, known counts, a judge, several dictionaries and errors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.planted_world import massive
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.providers.protocols import Json
from support.providers.server import ProviderServer

from autointerp.cli.main import main
from autointerp.progress import Progress
from autointerp.studies import workbench
from autointerp.studies.command import carry_out
from autointerp.studies.completeness import judged_presence, study
from autointerp.studies.completeness.concepts import available, load, shipped
from autointerp.studies.completeness.study import cover as study_of
from autointerp.studies.given import Given
from sae.studies import alive_features

pytestmark = pytest.mark.usefixtures("one_thread")

PLANTED = ("harbour", "orchard", "furnace", "glacier", "theatre", "monsoon", "bakery", "quarry")
"""Each has a feature of its own, which is active at its five strong words; filler words share the features of kind `noise`."""
CONCEPTS = tuple(f"{name}4" for name in PLANTED)
LIST = """
name = "things"
noun = "thing"
templates = ["filler1 filler2 {}", "filler3 filler5 filler6 {}"]
concepts = CONCEPTS
ambiguous = ["quarry4"]
""".replace("CONCEPTS", json.dumps([*CONCEPTS, "absent", "rare"]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("cover"), documents=40)


@pytest.fixture
def things(tmp_path: Path) -> Path:
    path = tmp_path / "things.toml"
    path.write_text(LIST)
    return path


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


def run(world: planted.World, results: Path, *arguments: object, dictionaries: int = 1) -> Result:
    inputs = ["--subject", str(world.subject), *["--dictionary", str(world.dictionary)] * dictionaries]
    inputs += ["--corpus", str(world.corpus), "--results", str(results), "--quiet", "--rate", "0.05"]
    return CliRunner().invoke(main, ["cover", *inputs, *map(str, arguments)])


def table(results: Path, name: str) -> pd.DataFrame:
    [path] = results.glob(f"studies/cover-*/{name}.parquet")
    return pd.read_parquet(path)


def test_a_concept_is_found_if_a_feature_is_its_own(world: planted.World, things: Path, tmp_path: Path) -> None:
    assert run(world, tmp_path, "--concepts", things).exit_code == 0
    found = table(tmp_path, "concepts").set_index("concept")
    assert list(found.index[found["found"]].sort_values()) == sorted(CONCEPTS)
    for concept in CONCEPTS:
        assert world.answers(found.loc[concept, "unit_id"])[0] == concept[:-1]
    candidates = table(tmp_path, "candidates")
    pair = [unit_id for unit_id in candidates["unit_id"] if world.kind(unit_id) == "pair"]
    assert pair
    assert candidates["fires_on"].max() == 2


def test_a_feature_that_fires_on_too_many_others_is_not_specific(
    world: planted.World, things: Path, tmp_path: Path
) -> None:
    words = [f"harbour{i}" for i in (2, 3, 4)]
    things.write_text(
        LIST.replace(json.dumps([*CONCEPTS, "absent", "rare"]), json.dumps(words)).replace("quarry4", words[0])
    )
    run(world, tmp_path, "--concepts", things, "--others", 1)
    assert not table(tmp_path, "concepts")["found"].any()
    assert (table(tmp_path, "candidates")["fires_on"] >= 3).any()


def test_a_feature_that_fires_on_much_of_the_text_is_not_specific(
    world: planted.World, things: Path, tmp_path: Path
) -> None:
    run(world, tmp_path, "--concepts", things, "--rate", 0.001)
    assert not table(tmp_path, "concepts")["found"].any()
    texts = [json.loads(line)["text"].split() for line in world.corpus.read_text().splitlines()]
    words = [word for text in texts for word in text]
    strong = sum(bool(re.fullmatch(r"harbour\d", word)) for word in words)
    rate = table(tmp_path, "candidates").query("unit_id == 'feature-0'")["firing_rate"].iloc[0]
    assert rate == pytest.approx(strong / len(words), rel=0.1)


def test_a_concept_whose_token_has_a_massive_norm_is_neither_found_nor_missing(
    world: planted.World, things: Path, tmp_path: Path
) -> None:
    subject = massive.subject_with(world, "harbour4", tmp_path / "massive")
    result = run(replace(world, subject=subject), tmp_path, "--concepts", things)
    assert result.exit_code == 0, result.output
    found = table(tmp_path, "concepts").set_index("concept")["found"]
    assert pd.isna(found["harbour4"])
    assert found.drop("harbour4").notna().all()
    curve = table(tmp_path, "curves").iloc[0]
    assert curve["concepts"] == curve["present"] == 6
    shown = json.loads(next(tmp_path.glob("studies/cover-*/study.json")).read_text())["tables"]["concepts"]["rows"]
    assert {row[4] for row in shown} == {"yes", "no", "n/a"}
    assert "1 concept could not be looked for" in next(tmp_path.glob("studies/cover-*/study.html")).read_text()


def test_counts_and_alive_features_are_those_of_the_text(world: planted.World, things: Path, tmp_path: Path) -> None:
    run(world, tmp_path, "--concepts", things)
    texts = [json.loads(line)["text"] for line in world.corpus.read_text().splitlines()]
    found = table(tmp_path, "concepts").set_index("concept")
    for concept in (*CONCEPTS, "absent"):
        assert found.loc[concept, "count"] == sum(len(re.findall(f"(?<= ){concept}(?= )", text)) for text in texts)
    curve = table(tmp_path, "curves").iloc[0]
    words = {word for text in texts for word in text.split()}
    assert curve["alive"] == sum(_fires(answers, words) for answers in world.features)
    assert curve["concepts"] == curve["present"] == 7
    assert curve["shape"] == "all_present"


def _fires(answers: tuple[str, ...], words: set[str]) -> bool:
    return any((f"{answer}{i}" in words) for answer in answers for i in ("", *range(5)))


def test_several_dictionaries_have_a_common_curve_over_concepts(
    world: planted.World, things: Path, tmp_path: Path
) -> None:
    result = run(world, tmp_path, "--concepts", things, dictionaries=3)
    assert result.exit_code == 0, result.output
    curves = table(tmp_path, "curves")
    assert list(curves["curve"]) == [*table(tmp_path, "concepts")["dictionary"].unique(), "all, rescaled"]
    [page] = tmp_path.glob("studies/cover-*/study.html")
    text = page.read_text()
    assert text.count("<figure>") == 2
    styles = {
        name for names in re.findall(r'<(?:polyline|rect)[^>]* class="([a-z ]+)"', text) for name in names.split()
    }
    assert all(f"svg .{name}" in text for name in styles)
    assert "All dictionaries together" in result.output


def answer(system: str, user: str, schema: Json) -> Any:
    """A judge for which a concept is present if the explanation ends in it."""
    match = re.search(r"<explanation>\n(.*)\n</explanation>\n<concept>\n(\S+) \(thing\)\n</concept>\Z", user)
    assert match is not None
    return {"reason": "read", "grade": int(match[1].endswith(match[2][:-1]))}


def test_a_judge_reads_the_explanations_of_a_run(
    world: planted.World, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"feature-{i}": f"words such as {', '.join(answers)}" for i, answers in enumerate(world.features)}
    texts["feature-0"] = "ships in a harbour"
    del texts["feature-1"]
    monkeypatch.setattr(workbench, "explanations_of", lambda run: texts)
    with ProviderServer(brain=answer) as server:
        judge = ["--judge", "openai-compatible/small", "--yes"]
        judge += [part for key in ("system_role=true", "json=schema") for part in ("--set", f"judge.{key}")]
        judge += ["--set", f"judge.base_url={server.url}/v1"]
        dry = run(world, tmp_path, "--concepts", things, *judge, "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert server.books == []
        result = run(world, tmp_path, "--concepts", things, *judge)
        assert result.exit_code == 0, result.output
        asked = len(server.books)
    found = table(tmp_path, "concepts").set_index("concept")
    assert found.loc["harbour4", "judged"]
    assert pd.isna(found.loc["orchard4", "judged"]) or found.loc["orchard4", "judged"]
    claims = table(tmp_path, "candidates").query("explanation != ''")
    assert asked == len(claims.drop_duplicates(["concept", "explanation"]))
    assert "by judge" in result.output


def test_without_explanations_there_is_nothing_to_judge(world: planted.World, things: Path, tmp_path: Path) -> None:
    result = run(world, tmp_path, "--concepts", things, "--judge", "openai/gpt-5.4-mini", "--yes")
    assert result.exit_code == 2
    assert "has an explanation to judge" in result.output


def test_an_interrupted_study_reads_the_text_once(
    world: planted.World, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    monkeypatch.setattr(study, "firing", lambda *a, **k: passes.append(1) or alive_features.firing(*a, **k))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    given = Given(
        subject=str(world.subject), dictionaries=(str(world.dictionary),), corpus=(str(world.corpus),), results=tmp_path
    )
    with Progress(quiet=True) as progress:
        with monkeypatch.context() as patch:
            patch.setattr(study, "name_counts", stopped)
            with pytest.raises(KeyboardInterrupt):
                carry_out(given, "cover", {"files": (things,)}, progress)
        assert carry_out(given, "cover", {"files": (things,)}, progress) is not None
    assert len(passes) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("filler1 filler2 {}", "filler1 filler2 {} again"), "has to end in a space and {}"),
        (("filler1 filler2 {}", "{}"), "after some words"),
        (('"absent"', '"rare"'), "'rare' is there twice"),
        (('ambiguous = ["quarry4"]', 'ambiguous = ["stone"]'), "ambiguous has 'stone'"),
        (('noun = "thing"', ""), "noun is missing: add it"),
        (("filler1 filler2 {}", "filler1 " * 600 + "{}"), "tokens, and 1 to"),
    ],
)
def test_a_wrong_list_is_one_line(
    world: planted.World, things: Path, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    things.write_text(LIST.replace(*change, 1))
    result = run(world, tmp_path, "--concepts", things)
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_an_unknown_list_names_those_that_there_are(world: planted.World, tmp_path: Path) -> None:
    result = run(world, tmp_path, "planets")
    assert result.exit_code == 2
    assert "use one of animals, boroughs, elements, foods" in result.output


def test_the_lists_that_come_with_the_program_are_well_formed() -> None:
    assert available() == ("animals", "boroughs", "elements", "foods")
    assert [len(shipped(name).concepts) for name in ("elements", "boroughs")] == [118, 32]
    assert all(len(shipped(name).concepts) >= 100 for name in ("animals", "foods"))
    assert len(study_of().lists) == 4


def test_the_rubric_passes_a_subset_and_fails_an_example() -> None:
    rubric = judged_presence.load_rubric()
    question = judged_presence.question(rubric, judged_presence.Claim("gold", "chemical element", "prices of gold"))
    assert "such as" in question.prompt.system
    assert "especially Richard Feynman" in question.prompt.system
    assert question.parse('{"reason": "r", "grade": 1}') is True
    assert question.parse('{"reason": "r", "grade": "0"}') is False


def test_a_list_of_ones_own_is_read_as_written(things: Path) -> None:
    found = load(things)
    assert found.prompts[:2] == ["filler1 filler2 harbour4", "filler3 filler5 filler6 harbour4"]
