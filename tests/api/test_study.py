"""`ai.study` carries out the studies of the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from support.planted_world.small_run import Evaluated, small

import autointerp as ai
from autointerp.cli.main import main
from autointerp.errors import UsageError
from sae.formats.load import load_dictionary

TEXT = "filler1 harbour2 filler3"


@pytest.fixture
def run(evaluated: Evaluated, tmp_path: Path) -> ai.Result:
    """A copy of the run, so that no test finds the studies of another."""
    project = evaluated.run.parent.parent
    return ai.load(shutil.copytree(project, tmp_path / "project") / evaluated.run.relative_to(project))


def test_a_study_is_that_of_the_command(run: ai.Result) -> None:
    found = ai.study("find", run, text=TEXT, quiet=True)
    arguments = ["find", "--from", run.id, "--text", TEXT, "--results", str(run.path.parent), "--json", "--quiet"]
    printed = json.loads(CliRunner().invoke(main, arguments).output)
    assert [path.parent for path in run.path.glob("studies/*/study.json")] == [found.path], (
        "the command found it finished"
    )
    assert found.sentences == printed["sentences"]
    assert found.values == printed["values"]
    assert found.tables.keys() == printed["tables"].keys() == {"features"}
    pd.testing.assert_frame_equal(found.tables["features"], pd.read_parquet(found.path / "features.parquet"))


def test_a_study_shows_itself(run: ai.Result) -> None:
    found = ai.study("find", str(run.path), words="harbour", quiet=True)
    assert repr(found).splitlines() == [*found.cautions, *found.sentences, str(found.path / "study.html")]
    html = found._repr_html_()
    assert found.title in html
    assert "<table>" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("find", {}, "find: no way to find features"),
        ("find", {"texts": "a"}, "find: unknown key texts = 'a': did you mean text?"),
        ("seek", {}, "there is no study 'seek': give one of find, steer"),
        ("categories", {"judge": "anthropic/claude-haiku-4-5"}, "categories asks no judge"),
        ("cover", {"judge": {"modle": "x"}}, "judge.modle"),
    ],
)
def test_wrong_settings_are_one_line(run: ai.Result, name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        ai.study(name, run, quiet=True, **settings)
    assert "\n" not in str(refused.value)


def test_a_spec_with_studies_needs_inputs_that_have_names(evaluated: Evaluated, tmp_path: Path) -> None:
    world = evaluated.world
    settings = small()
    settings["spec"] = settings["spec"] | {"studies": {"tokens": 0, "find": {"text": TEXT}}}
    del settings["spec"]["studies.tokens"]
    with pytest.raises(UsageError, match=r"studies\.find reads files: give model and dictionary as paths or ids"):
        ai.evaluate(world.subject, load_dictionary(str(world.dictionary)), world.corpus, results=tmp_path, **settings)
