"""What a finished run shows of itself in a notebook and in a terminal, and comparisons of several."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.planted_world.small_run import Evaluated

import autointerp as ai
from autointerp.errors import UsageError


def test_a_result_shows_verdict_reliability_curve_and_units(evaluated: Evaluated) -> None:
    result = ai.load(evaluated.run)
    html = result._repr_html_()
    assert result.summary.headline.withheld or result.difference.value is not None
    for part in (
        "The headline is withheld",
        "The judge is not reliable",
        "<svg",
        "Best features",
        "Worst features",
        "feature-0",
    ):
        assert part in html
    assert "<script" not in html
    assert repr(result).splitlines()[0] == result.verdict
    assert str(result.difference).startswith("withheld: ")
    pd.testing.assert_frame_equal(result.units, pd.read_parquet(result.path / "units.parquet"))


def test_a_unit_shows_its_strongest_windows(evaluated: Evaluated) -> None:
    unit = ai.load(evaluated.run).unit("feature-0")
    shown = unit.show(top=3)
    assert unit.exemplars["activation"].is_monotonic_decreasing
    assert len(repr(shown).splitlines()) == 2 + 3
    assert shown._repr_html_().count('class="marked"') == 3
    with pytest.raises(UsageError, match="top = 0"):
        unit.show(top=0)
    with pytest.raises(UsageError, match="has no unit 'feature-99'"):
        ai.load(evaluated.run).unit("feature-99")


def test_figures_are_files(evaluated: Evaluated, tmp_path: Path) -> None:
    written = ai.load(evaluated.run).figures(tmp_path / "figures")
    assert [path.name for path in written] == ["grades.svg", "curve.svg"]
    assert all("<style>" in path.read_text() for path in written)
    with pytest.raises(UsageError, match="cannot be written as 'gif'"):
        ai.load(evaluated.run).figures(tmp_path, format="gif")


def test_runs_that_cannot_be_compared_are_refused(evaluated: Evaluated, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 runs cannot be compared"):
        ai.compare([evaluated.run])
    with pytest.raises(UsageError, match="confidence = 2"):
        ai.compare([evaluated.run, evaluated.run], confidence=2)
    with pytest.raises(UsageError, match="there is no run"):
        ai.load(tmp_path / "nothing")
