"""`ai.evaluate` gives the tables of `autointerp run`, from whatever form its inputs have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from support.planted_world.small_run import Evaluated, small
from transformers import AutoTokenizer, LlamaForCausalLM

import autointerp as ai
from autointerp.cli.main import main
from autointerp.errors import UsageError
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.objects.subject import subject_of

OF_A_SITTING = {"command", "created_at", "finished_at", "versions", "wall_s", "stage_s"}
NAMES = {"run_id", "spec_hash", "harvest", "dictionary", "corpus"}
"""Parts of a summary that name inputs in memory differently."""


def same_tables(a: Path, b: Path, *, but: tuple[str, ...] = (), **tolerance: float) -> None:
    names = sorted(path.name for path in a.glob("*.parquet"))
    assert names == sorted(path.name for path in b.glob("*.parquet"))
    assert "judgements.parquet" in names
    for name in names:
        one, other = (pd.read_parquet(folder / name).drop(columns=list(but), errors="ignore") for folder in (a, b))
        pd.testing.assert_frame_equal(one, other, **tolerance)


def figures(folder: Path, *, but: set[str]) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {name: part for name, part in summary.items() if name not in OF_A_SITTING | but}


@pytest.fixture(scope="module")
def other(evaluated: Evaluated, tmp_path_factory: pytest.TempPathFactory) -> ai.Result:
    """The same units with other explanations, to compare with."""
    world, texts = evaluated.world, dict.fromkeys(("feature-0", "feature-1", "neuron-0+", "neuron-1+"), "a harbour")
    folder = tmp_path_factory.mktemp("other")
    return ai.evaluate(world.subject, world.dictionary, world.corpus, results=folder, **small(explanations=texts))


def compared_by_the_command(evaluated: Evaluated, other: ai.Result, out: Path) -> Path:
    done = CliRunner().invoke(main, ["compare", str(evaluated.run), str(other.path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_paths_give_the_run_of_the_command_line(evaluated: Evaluated, tmp_path: Path) -> None:
    world = evaluated.world
    result = ai.evaluate(str(world.subject), world.dictionary, world.corpus, results=tmp_path, **small())
    assert result.path == tmp_path / evaluated.run.name  # the same id, because it is the same spec
    same_tables(result.path, evaluated.run)
    assert figures(result.path, but=set()) == figures(evaluated.run, but=set())
    assert (tmp_path / "index.html").is_file()


def test_runs_are_compared_as_by_the_command_line(evaluated: Evaluated, other: ai.Result, tmp_path: Path) -> None:
    command = compared_by_the_command(evaluated, other, tmp_path / "command")
    called = ai.compare([ai.load(evaluated.run), other]).write(tmp_path / "called")
    units = [pd.read_parquet(folder / "units.parquet") for folder in (command, called)]
    pd.testing.assert_frame_equal(*units)
    assert (command / "comparison.json").read_text() == (called / "comparison.json").read_text()


def test_results_that_are_not_kept_vanish_with_the_result(evaluated: Evaluated) -> None:
    world = evaluated.world
    result = ai.evaluate(world.subject, world.dictionary, [world.corpus], results=None, **small())
    same_tables(result.path, evaluated.run)
    folder = result.path.parent
    assert folder.is_dir()
    del result
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"judge": 3}, "a judge is a int"),
        ({"judge": "gpt"}, "judge.model = 'gpt'"),
        ({"spec": {"score.perbin": 3}}, "did you mean per_bin"),
        ({"spec": {"name.x": 3}}, "name is a value"),
        ({"budget_usd": -1}, "budget.usd = -1"),
        ({"features": 0}, "units.features = 0"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(evaluated: Evaluated, change: dict, said: str) -> None:
    world = evaluated.world
    with pytest.raises(UsageError, match=said) as caught:
        ai.evaluate(world.subject, world.dictionary, world.corpus, results=None, **small(**change))
    assert "\n" not in str(caught.value)


def test_the_package_is_imported_without_what_it_calls() -> None:
    code = "import sys, autointerp; dir(autointerp); print([m for m in ('torch', 'pandas', 'sqlalchemy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_of_the_api_can_be_had() -> None:
    for name in ai.__all__:
        assert getattr(ai, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = ai.evalute


class Transposed:
    """A dictionary of one's own: values are columns, its tensors have names of their own, and it is no module."""

    def __init__(self, read: Dictionary) -> None:
        self.up, self.down = read.W_enc.T.clone(), read.W_dec.T.clone()
        self.offset, self.level, self.cut = read.b_enc.clone(), read.b_dec.clone(), read.threshold
        self.centred = read.apply_b_dec_to_input

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        z = self.up.T @ (x - self.level[:, None] * self.centred) + self.offset[:, None]
        return z.relu() if self.cut is None else z * (z > self.cut[:, None])

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return self.down @ f + self.level[:, None]


def test_objects_give_the_run_of_the_command_line(evaluated: Evaluated, other: ai.Result, tmp_path: Path) -> None:
    world = evaluated.world
    model = LlamaForCausalLM.from_pretrained(world.subject, dtype=torch.float32)
    model.train()
    texts = [json.loads(line)["text"] for line in world.corpus.read_text().splitlines()]
    result = ai.evaluate(
        model,
        Transposed(load_dictionary(str(world.dictionary))),
        texts,
        hook_point="resid_post.0",
        tokenizer=AutoTokenizer.from_pretrained(world.subject),
        results=tmp_path,
        **small(),
    )
    same_tables(result.path, evaluated.run)
    assert model.lm_head.training  # as it was before
    assert figures(result.path, but=NAMES) == figures(evaluated.run, but=NAMES)
    pairs = [ai.compare([run, other]).pairs.drop(columns=["a", "b"]) for run in (result, ai.load(evaluated.run))]
    pd.testing.assert_frame_equal(*pairs)
    facts, those = result.summary, ai.load(evaluated.run).summary
    assert facts.subject.fingerprint == those.subject.fingerprint  # the weights still equal those of the folder
    assert facts.dictionary.fingerprint == those.dictionary.fingerprint
    with torch.no_grad():
        model.lm_head.weight += 1
    changed = subject_of(model, AutoTokenizer.from_pretrained(world.subject)).subject
    assert changed.fingerprint != facts.subject.fingerprint


class Opaque:
    """A dictionary whose weights are not to be seen, so that its encoder can only be called."""

    def __init__(self, read: Dictionary) -> None:
        self.inside = [read]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.inside[0].encode(x)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return self.inside[0].decode(f)


def test_an_encoder_that_is_called_gives_the_run_of_its_weights(
    evaluated: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = evaluated.world
    given = Opaque(load_dictionary(str(world.dictionary)))
    arguments = small(hook_point="resid_post.0", quiet=False)
    result = ai.evaluate(world.subject, given, world.corpus, results=tmp_path, **arguments)
    same_tables(result.path, evaluated.run, rtol=0.01)  # windows are in bfloat16
    fits = [ai.load(folder).summary.check for folder in (result.path, evaluated.run)]
    assert fits[0].variance_explained == pytest.approx(fits[1].variance_explained, rel=1e-3)
    assert "Opaque: its encode is none of the known equations, so it is called" in capsys.readouterr().err


def test_a_function_judges(evaluated: Evaluated, tmp_path: Path) -> None:
    asked: list[str] = []

    def mine(prompt: str) -> str:
        asked.append(prompt.user)
        if "explanation" in prompt.schema["properties"]:
            return '{"explanation": "words about a harbour"}'
        return '{"reason": "", "grade": 2}'

    world = evaluated.world
    arguments = small(judge=mine, features=[0, 1], neurons=["0+"])
    result = ai.evaluate(world.subject, world.dictionary, world.corpus, results=tmp_path, **arguments)
    assert set(result.units["explanation"]) == {"words about a harbour"}
    assert set(result.units["mean_score"]) == {2.0}
    assert result.summary.judge.startswith("python/test_a_function_judges.mine-")
    assert result.summary.cost_usd is None  # nothing is known of what it costs
    before = len(asked)
    ai.evaluate(world.subject, world.dictionary, world.corpus, results=tmp_path, **arguments)
    assert len(asked) == before
