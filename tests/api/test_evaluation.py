"""`ai.evaluate` gives the tables of `autointerp run`, from whatever form its inputs have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from support.planted_world.small_run import Evaluated, small

import autointerp as ai
from autointerp.errors import UsageError

TABLES = ("units", "exemplars", "judgements", "explanations", "scorers")


def same_tables(a: Path, b: Path, *, but: tuple[str, ...] = ()) -> None:
    for name in TABLES:
        one, other = (
            pd.read_parquet(folder / f"{name}.parquet").drop(columns=list(but), errors="ignore") for folder in (a, b)
        )
        pd.testing.assert_frame_equal(one, other)


def test_paths_give_the_run_of_the_command_line(evaluated: Evaluated, tmp_path: Path) -> None:
    world = evaluated.world
    result = ai.evaluate(str(world.subject), world.dictionary, world.corpus, results=tmp_path, **small())
    assert result.path == tmp_path / evaluated.run.name  # the same id, because it is the same spec
    same_tables(result.path, evaluated.run)
    assert result.difference == ai.load(evaluated.run).difference
    assert (tmp_path / "index.html").is_file()


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
        ({"judge": 3}, "judge is a int"),
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
