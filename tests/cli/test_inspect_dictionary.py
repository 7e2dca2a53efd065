"""`autointerp inspect`: what it prints of a dictionary alone, on a subject, and from a spec."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner, Result
from support.planted_world import layered

from autointerp.cli.inspect_dictionary import inspect
from sae.formats.load import ADAPTERS
from sae.formats.names import NAMES

LAST = f"resid_post.{layered.LAYERS - 1}"


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> layered.Deep:
    return layered.make(tmp_path_factory.mktemp("deep"))


@pytest.fixture(scope="module")
def right(deep: layered.Deep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    subject = deep.subject()
    values = layered.values(subject, deep.corpus(subject), LAST)
    folder = tmp_path_factory.mktemp("dictionaries") / "right"
    return layered.save(folder, layered.principal(values, LAST, silent=16))


def asked(*arguments: object) -> Result:
    return CliRunner().invoke(inspect, [str(argument) for argument in [*arguments, "--quiet"]])


def facts(said: Result) -> dict[str, str]:
    """The aligned lines as pairs."""
    rows = [line.split("  ", 1) for line in said.stdout.splitlines() if "  " in line]
    return {name.strip(): value.strip() for name, value in rows}


def test_inspect_describes_a_dictionary_without_a_subject(right: Path) -> None:
    said = asked(right)
    assert said.exit_code == 0, said.output
    shown = facts(said)
    assert shown["features"] == f"{2 * layered.RANK + 16} on 80 dimensions"
    assert (shown["reads"], shown["activation"]) == (LAST, "relu")
    assert (shown["input norm"], shown["decoder bias"]) == ("none", "subtracted from the input")
    assert shown["decoder norms"] == "0 to 1, median 1"
    assert "variance explained" not in shown


def test_contexts_are_shortened_to_the_subject_s_positions(deep: layered.Deep, right: Path, tmp_path: Path) -> None:
    shutil.copytree(deep.folder, tmp_path / "short")
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "short" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    said = asked(right, "--subject", tmp_path / "short", "--corpus", deep.text)
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[-1] == f"fits {LAST} of short"


def test_inspect_measures_that_a_dictionary_fits_its_subject(deep: layered.Deep, right: Path) -> None:
    said = asked(right, "--subject", deep.folder, "--corpus", deep.text)
    assert said.exit_code == 0, said.output
    shown = facts(said)
    assert float(shown["variance explained"]) == pytest.approx(0.92, abs=0.05)
    assert shown["silent features"].startswith("25%")
    assert shown["vocabulary"].endswith(" embeddings")
    assert said.stdout.splitlines()[-1] == f"fits {LAST} of deep"
    figures = json.loads(asked(right, "--subject", deep.folder, "--corpus", deep.text, "--json").stdout)
    assert figures["check"]["dead_fraction"] == 0.25
    assert figures["dictionary"]["d_sae"] == 2 * layered.RANK + 16


def test_inspect_names_the_right_hook_point_if_given_a_wrong_one(deep: layered.Deep, right: Path) -> None:
    said = asked(right, "--subject", deep.folder, "--corpus", deep.text, "--hook-point", "resid_post.0")
    assert f'set dictionary.hook_point = "{LAST}"' in said.stdout.splitlines()[-1]


def test_a_spec_names_subject_and_corpus(deep: layered.Deep, right: Path, tmp_path: Path) -> None:
    spec = {
        "subject": {"model": str(deep.folder)},
        "dictionary": {"path": str(right)},
        "corpus": {"sources": [str(deep.text)], "context_tokens": 64},
    }
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(spec))
    said = asked(tmp_path / "spec.toml", "--tokens", 2048)
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[-1] == f"fits {LAST} of deep"
    elsewhere = asked(tmp_path / "spec.toml", "--hook-point", "resid_post.1", "--json")
    assert json.loads(elsewhere.stdout)["dictionary"]["hook_point"] == "resid_post.1"


def test_every_format_can_be_named() -> None:
    assert set(NAMES) == set(ADAPTERS)


def test_inspect_exits_with_2_if_the_dictionary_explains_nothing(deep: layered.Deep, tmp_path: Path) -> None:
    other = layered.make(tmp_path / "other", seed=1)
    there = other.subject()
    values = layered.values(there, other.corpus(there), LAST)
    foreign = layered.save(tmp_path / "foreign", layered.principal(values, LAST))
    said = asked(foreign, "--subject", deep.folder, "--corpus", deep.text)
    assert said.exit_code == 2
    assert said.stdout.splitlines()[-1].startswith(f"explains nothing of {LAST}")
    assert said.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hook-point", "nowhere.3"], "dictionary: hook_point = 'nowhere.3'"),
        (["--format", "zip"], "dictionary: format = 'zip': use auto, saelens"),
        (["--corpus", "x.txt"], "--corpus needs --subject"),
        (["--subject", "nowhere/at-all"], "--subject needs text to measure on: give --corpus FILE"),
    ],
)
def test_inspect_errors_are_one_line(right: Path, arguments: list[str], words: str) -> None:
    said = asked(right, *arguments)
    assert said.exit_code == 2
    assert words in said.stderr
    assert said.stderr.count("\n") == 1
