"""`autointerp steer` on a planted subject that repeats what it reads: tables, baselines, judge, case files and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from support.locations import ROOT
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.providers.protocols import Json
from support.providers.server import ProviderServer
from support.scorers import cases as scorer_cases

from autointerp.cli import common
from autointerp.cli.main import main
from autointerp.studies.steering import case_study, study
from autointerp.studies.steering.cases import load_cases
from autointerp.studies.steering.rubric import load_rubric
from sae.subject.model import load_subject
from sae.subject.token_text import token_texts

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ("filler1 filler2 filler3", "filler4 filler5 filler8 filler9")
HARBOUR = "feature-0"
_TEXT = re.compile(r"<text>\n(.*)\n</text>", re.DOTALL)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    """A subject on disk with the output head of `scorer_cases.opened`, and a chat template."""
    opened = scorer_cases.opened(tmp_path_factory.mktemp("steer"))
    opened.subject.model.save_pretrained(opened.world.subject)
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}filler7{% endif %}"
    (opened.world.subject / "chat_template.jinja").write_text(template)
    return opened.world


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


def steer(world: planted.World, results: Path, *arguments: str, corpus: bool = True) -> Result:
    inputs = ["--subject", str(world.subject), "--dictionary", str(world.dictionary), "--results", str(results)]
    inputs += ["--corpus", str(world.corpus)] if corpus else []
    return CliRunner().invoke(main, ["steer", *inputs, "--quiet", *arguments])


def of_prompts(*prompts: str) -> list[str]:
    return [part for prompt in prompts for part in ("--prompt", prompt)]


def table(results: Path, name: str) -> pd.DataFrame:
    [path] = results.glob(f"studies/steer-*/{name}.parquet")
    return pd.read_parquet(path)


def values(results: Path) -> dict[str, Any]:
    [path] = results.glob("studies/steer-*/study.json")
    return dict(json.loads(path.read_text()))


def answer(system: str, user: str, schema: Json) -> Any:
    """A judge that looks for harbours in the text between its tags alone."""
    match = _TEXT.search(user)
    assert match is not None
    return {"reason": "read", "on_target": 3 if "harbour" in match[1] else 0, "coherence": 2}


def judged(server: ProviderServer) -> list[str]:
    base = planted_runs.url("openai-compatible/small", server.url)
    sets = [f"judge.base_url={base}", "judge.system_role=true", "judge.json=schema"]
    sets += [f"judge.{name}={value}" for name, value in planted_runs.PRICED.items()]
    return ["--judge", "openai-compatible/small", *(part for line in sets for part in ("--set", line))]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(answer) as running:
        yield running


def test_every_factor_stands_beside_the_unsteered_text_and_the_baselines(world: planted.World, tmp_path: Path) -> None:
    (tmp_path / "with.txt").write_text("\n".join(f"filler{i} harbour{i % 5}" for i in range(6)))
    (tmp_path / "without.txt").write_text("\n".join(f"filler{i} filler{i + 20}" for i in range(6)))
    sets = ["--positive", str(tmp_path / "with.txt"), "--negative", str(tmp_path / "without.txt")]
    done = steer(world, tmp_path, "--unit", "0", *of_prompts(*PROMPTS), "--factors=-20,20", "--tokens", "4", *sets)
    assert done.exit_code == 0, done.output
    side = table(tmp_path, "side_by_side")
    assert len(side) == 4
    for row in side.to_dict("records"):
        assert ("harbour" in row["steered"]) == (row["factor"] > 0)
        assert "harbour" not in row["unsteered"] + row["random"]
        assert ("harbour" in row["few-shot"], "harbour" in row["probe"]) == (row["factor"] > 0,) * 2
    factors = table(tmp_path, "factors").set_index(["arm", "factor"])
    assert (factors["perplexity"] >= factors["unsteered_perplexity"]).all()
    risen = table(tmp_path, "risen")
    assert all("harbour" in token for token in risen[(risen["arm"] == "steered") & (risen["factor"] == 20)]["token"])
    folder = next(tmp_path.glob("studies/steer-*"))
    assert (folder / "damage.svg").read_text().startswith("<svg")
    assert "harbour" in (folder / "study.html").read_text()
    [unit] = values(tmp_path)["values"]["units"]
    assert unit["maximum"] == pytest.approx(0.94, abs=1e-4)
    assert unit["maximum_measured"] == "in the corpus's first 16,384 tokens"
    assert values(tmp_path)["values"]["probe_accuracy"] == {"resid_post.0": 1.0}
    assert "balanced accuracy 1.00" in done.output


def test_the_unsteered_text_is_that_of_the_subject_alone(world: planted.World, tmp_path: Path) -> None:
    arguments = ["--unit", "0", "--unit", "neuron-1+@last", *of_prompts(*PROMPTS), "--factors=20", "--tokens", "4"]
    assert steer(world, tmp_path, *arguments).exit_code == 0
    frame = table(tmp_path, "continuations")
    unsteered = frame[frame["arm"] == "unsteered"]
    subject = load_subject(str(world.subject), precision="float32", device="cpu")
    for prompt, text in zip(unsteered["prompt"], unsteered["continuation"], strict=True):
        ids = torch.tensor([subject.tokenizer(prompt).input_ids])
        with torch.no_grad():
            for _ in range(4):
                ids = torch.cat([ids, subject.model(ids).logits[:, -1].argmax(dim=1, keepdim=True)], dim=1)
        assert "".join(token_texts(subject.tokenizer, ids[0, -4:].tolist())) == text


def test_a_maximum_that_only_the_prompts_give_is_said_to_be_theirs(world: planted.World, tmp_path: Path) -> None:
    done = steer(
        world, tmp_path, "--unit", "0=2", *of_prompts("filler1 harbour2 filler3"), "--tokens", "3", corpus=False
    )
    assert done.exit_code == 0, done.output
    assert "The maximum of feature-0 was measured in the prompts alone" in done.output
    assert "feature-0=2 (maximum 0.74, in the prompts)" in done.output
    silent = steer(world, tmp_path / "silent", "--unit", "0", *of_prompts(*PROMPTS), corpus=False)
    assert silent.exit_code == 2
    assert "feature-0 is silent in the prompts, so its maximum is 0 and no factor changes anything" in silent.output


def test_a_chat_prompt_goes_through_the_template_and_drawn_tokens_follow_the_seed(
    world: planted.World, tmp_path: Path
) -> None:
    unsteered = {}
    for name, flags in {"plain": [], "chat": ["--chat"], "one": ["--seed", "1"], "two": ["--seed", "2"]}.items():
        results = tmp_path / name
        done = steer(world, results, "--unit", "0", *of_prompts(PROMPTS[0]), "--factors=1", "--tokens", "6", *flags)
        assert done.exit_code == 0, done.output
        frame = table(results, "continuations")
        unsteered[name] = frame[frame["arm"] == "unsteered"]["continuation"].iloc[0]
    assert "filler7" in unsteered["chat"]
    assert len(set(unsteered.values())) == 4


def test_the_judge_grades_every_arm_and_a_dry_run_says_the_cost(
    world: planted.World, tmp_path: Path, server: ProviderServer
) -> None:
    arguments = [
        "--unit",
        "0",
        *of_prompts(*PROMPTS),
        "--factors=-20,20",
        "--tokens",
        "3",
        "--expect",
        "words about a harbour",
    ]
    quiet = [*arguments, *judged(server)]
    dry = CliRunner().invoke(
        main, ["steer", "--subject", str(world.subject), "--dictionary", str(world.dictionary), "--corpus", str(world.corpus),
               "--results", str(tmp_path), *quiet, "--dry-run"],
    )  # fmt: skip
    assert dry.exit_code == 0, dry.output
    assert re.search(r"\d+ questions to openai-compatible/small: \d+ calls, about \$0\.", dry.output)
    assert not server.books
    done = steer(world, tmp_path, *quiet, "--usd", "1")
    assert done.exit_code == 0, done.output
    factors = table(tmp_path, "factors").set_index(["arm", "factor"])
    assert factors["on_target"].to_dict() == {
        ("steered", -20.0): 0, ("random", -20.0): 0, ("steered", 20.0): 3, ("random", 20.0): 0,
    }  # fmt: skip
    assert (factors["coherence"] == 2).all()
    assert "on target 3.00 of 3 (random direction 0.00, unsteered 0.00)" in done.output
    asked = len(server.books)
    assert steer(world, tmp_path, *quiet, "--usd", "1").output == done.output
    assert len(server.books) == asked


def test_an_interrupted_study_keeps_the_prompts_that_are_done(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure: Callable[..., pd.DataFrame] = study.measure_prompt
    seen: list[str] = []

    def interrupted(bench: Any, arms: Any, prompt: str, *rest: Any) -> pd.DataFrame:
        seen.append(prompt)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return measure(bench, arms, prompt, *rest)

    arguments = ["--unit", "0", *of_prompts(*PROMPTS), "--factors=20", "--tokens", "3"]
    monkeypatch.setattr(common, "_leave_at_once", lambda code: None)  # else it ends this process: servers of tests run
    monkeypatch.setattr(study, "measure_prompt", interrupted)
    stopped = steer(world, tmp_path, *arguments)
    assert stopped.exit_code == 130
    assert "run the same command to continue" in stopped.output
    assert steer(world, tmp_path, *arguments).exit_code == 0
    assert seen == [*PROMPTS, PROMPTS[1]]


def test_units_of_several_dictionaries_are_set_at_once(world: planted.World, tmp_path: Path) -> None:
    second = [
        "--dictionary",
        str(world.dictionary),
        *of_prompts("filler1 harbour2 orchard1"),
        "--factors=1",
        "--tokens",
        "3",
    ]
    done = steer(world, tmp_path, *second, "--unit", "resid_post.0/16/1:0", "--unit", "resid_post.0/16/2:1=20")
    assert done.exit_code == 0, done.output
    assert "orchard" in table(tmp_path, "side_by_side")["steered"][0]
    assert [unit["dictionary"] for unit in values(tmp_path)["values"]["units"]] == [
        "resid_post.0/16/1",
        "resid_post.0/16/2",
    ]
    unclear = steer(world, tmp_path, *second, "--unit", "0")
    assert "unit '0' does not say of which dictionary: write NAME:0, with one of resid_post.0/16/1, " in unclear.output


CASES = """
[[cases]]
name = "talks of harbours"
prompt = "filler1 filler2 filler3"
units = ["0=20"]
expect.pattern = "harbour[0-4]"

[[cases]]
name = "a control that does it as well"
prompt = "filler1 filler2 filler3"
units = ["0=20"]
expect.words = ["filler3", "filler2", "filler1", "harbour4"]
control = "plain"

[[cases]]
name = "stops repeating"
prompt = "filler1 filler2 filler3"
units = ["0=20"]
expect = { pattern = "filler", gone = true }
control = "plain"

[[cases]]
name = "never comes"
prompt = "filler1 filler2 filler3"
units = ["0=20@last", "neuron-1+=0"]
expect.words = ["orchard0"]
"""
JUDGED = """
[[cases]]
name = "is judged"
prompt = "filler1 filler2 filler3"
units = ["0=20"]
expect.judged = "words about a harbour"
"""


def test_case_files_pass_and_fail_with_an_exit_code(world: planted.World, tmp_path: Path) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(CASES)
    done = steer(world, tmp_path, "--cases", str(file))
    assert done.exit_code == 1, done.output
    assert values(tmp_path)["values"] == {
        "n_cases": 4, "n_passed": 2, "failed": ["a control that does it as well", "never comes"],
    }  # fmt: skip
    assert "2 of 4 cases pass." in done.output
    assert "FAIL never comes: expected 'orchard0'; the expected change is missing" in done.output
    assert "the control shows it as well" in done.output
    file.write_text(CASES.partition("\n\n")[0])
    assert steer(world, tmp_path, "--cases", str(file)).exit_code == 0


def test_judged_cases_need_a_judge_and_pass_by_its_grades(
    world: planted.World, tmp_path: Path, server: ProviderServer
) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(JUDGED)
    without = steer(world, tmp_path, "--cases", str(file))
    assert without.exit_code == 2
    assert "case 'is judged' is judged: give --judge PROVIDER/MODEL" in without.output
    done = steer(world, tmp_path, "--cases", str(file), *judged(server), "--usd", "1")
    assert done.exit_code == 0, done.output
    [row] = pd.read_parquet(next(tmp_path.glob("studies/steer-*/cases.parquet"))).to_dict("records")
    assert row["passed"]
    assert row["why"] == " (on target: steered 3, control 0)"
    assert case_study.CLEAR == 2


def test_the_papers_cases_and_the_rubric_load() -> None:
    cases = load_cases(ROOT / "docs" / "steering-cases.toml").cases
    assert [case.units[0].partition("=")[2] for case in cases] == ["3", "-5", "-2", "5", "5", "10"]
    assert [case.expect.gone for case in cases] == [False, True, False, False, False, False]
    rubric = load_rubric()
    assert [len(levels) for levels in (rubric.on_target, rubric.coherence)] == [4, 4]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--unit", "0"], "no prompt: give --prompt TEXT, or --prompts FILE"),
        (of_prompts("filler1 filler2"), "no unit: give --unit 641, or --unit neuron-12+"),
        (["--unit", "99"], "unit '99' does not exist: resid_post.0 has features 0 to 15"),
        (["--unit", "neuron-99+"], "unit 'neuron-99+' does not exist: the layer of resid_post.0 has neurons 0 to 15"),
        (["--unit", "neuron-1"], "unit 'neuron-1': a neuron needs its sign, such as neuron-12+"),
        (["--unit", "other:1"], "unit 'other:1' has no dictionary 'other': write NAME:1, with one of resid_post.0"),
        (["--unit", "1=x"], "unit '1=x': 'x' is not a number"),
        (["--unit", "1@99"], "position 99 cannot be steered in a prompt of 2 tokens"),
        (["--unit", "1", "--unit", "1"], "feature-1 is set twice: name each unit"),
        (["--unit", "1", "--factors=200"], "factor 200 is out of range: give factors from -100 to 100"),
        (["--unit", "1", "--factors=a"], "--factors 'a' are not numbers"),
        (["--unit", "1", "--tokens", "300"], "and 300 more do not fit into the subject's 256: shorten it"),
        (["--unit", "1", "--dry-run"], "--dry-run says what judging will cost: give --judge PROVIDER/MODEL"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(world: planted.World, tmp_path: Path, arguments: list[str], why: str) -> None:
    no_prompt = "no prompt" in why or "no unit" in why
    done = steer(world, tmp_path, *arguments, *([] if no_prompt else of_prompts("filler1 filler2")))
    assert done.exit_code == 2, done.output
    assert why in done.output
    assert done.output.count("\n") == 1
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('units = ["1"]', "cases[0].expect is missing: add it"),
        ('units = ["1"]\nexpect.words = ["a"]\nexpect.pattern = "b"', "give exactly one of words, pattern and judged"),
        ('units = ["1"]\nexpect.pattern = "("', "it is no regular expression"),
        ('units = ["1"]\nexpect.words = ["a"]\nfactor = 3', "unknown key cases[0].factor: remove it"),
    ],
)
def test_wrong_case_files_are_refused_in_one_line(world: planted.World, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "cases.toml"
    file.write_text(f'[[cases]]\nname = "a"\nprompt = "filler1 filler2"\n{text}\n')
    done = steer(world, tmp_path, "--cases", str(file))
    assert done.exit_code == 2
    assert why in done.output
    assert done.output.count("\n") == 1
