"""The second judge grades a sample of known probabilities, and the headline corrected by it is closer to the truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.judged_runs import Judge

from autointerp.findings import second_judge_sample
from autointerp.messages import ScoreMaterial
from autointerp.records import SECOND_JUDGE, Arm
from autointerp.run import Run

SHARE = 0.4
SPEC: dict[str, Any] = {
    "cascade": {"share": SHARE, "judge": {"model": "openai/gpt-5.4"}},
    "score": {"per_call": 5},
    "controls": {"repeated": 6},
}


class Credulous(Judge):
    """Grades every second irrelevant text a 2 under an explanation without a theme, which favours neurons."""

    def grade(self, item: ScoreMaterial) -> int:
        true = super().grade(item)
        odd = hashlib.sha256("".join(item.window.tokens).encode()).digest()[0] % 2
        return 2 if true == 0 and odd and "without a common theme" in item.explanation else true


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return judged_runs.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def run(world: planted.World, results: Path) -> tuple[Run, Judge, Judge]:
    """A run, and its two judges with the items that they graded."""
    return carried(world, results, "cascade")


def carried(world: planted.World, results: Path, name: str, **sections: Any) -> tuple[Run, Judge, Judge]:
    first, second = Credulous(), Judge()
    run, ledger = judged_runs.open_(judged_runs.spec(world, name, **SPEC | sections), results)
    judged_runs.carry(run, ledger, first, second)
    return run, first, second


def test_the_second_judge_grades_only_the_drawn_items(run: tuple[Run, Judge, Judge], results: Path) -> None:
    _, first, second = run
    again = pd.read_parquet(run[0].folder / "judgements.parquet").query("judge == 'openai/gpt-5.4'")
    assert len(again) == len(second.items)
    assert set(again["arm"]) == {Arm.MAIN, Arm.BASE_RATE, Arm.NEAR}
    assert (again["repeat"] == 0).all()
    assert not Counter(second.items) - Counter(first.items)
    assert set(second.groups[:-1]) <= {5, *range(1, 5)}
    _, ledger = judged_runs.open_(run[0].spec, results)
    designed = second_judge_sample.design(ledger, run[0])
    assert len(again) == sum(d.drawn for d in designed) == pytest.approx(SHARE * len(designed), abs=6)


def test_sampling_probabilities_match_the_drawn_shares(run: tuple[Run, Judge, Judge], results: Path) -> None:
    """The probability of an item is the drawn share of its stratum, and unsure items are drawn more often."""
    _, ledger = judged_runs.open_(run[0].spec, results)
    drawn = pd.DataFrame(second_judge_sample.design(ledger, run[0]))
    by_stratum = drawn.groupby("stratum")
    assert (by_stratum["probability"].nunique() == 1).all()
    assert list(by_stratum["probability"].first()) == pytest.approx(list(by_stratum["drawn"].mean()))
    chance = by_stratum["probability"].first()
    for kind in ("feature", "neuron"):
        assert chance[f"{kind} unsure"] == pytest.approx(second_judge_sample.UNSURE * chance[f"{kind} sure"], rel=0.1)


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), min_size=1, max_size=8), st.floats(0.01, 1))
def test_shares_of_the_strata_add_up_to_the_requested_share(strata: list[tuple[int, bool]], share: float) -> None:
    found = second_judge_sample.probabilities(strata, share)
    assert all(0 <= p <= 1 for p in found)
    drawn = sum(size * p for (size, _), p in zip(strata, found, strict=True))
    assert drawn == pytest.approx(share * sum(size for size, _ in strata))
    for (_, unsure), p in zip(strata, found, strict=True):
        assert p == pytest.approx(max(found) if unsure else min(found))


def test_the_corrected_headline_is_nearer_the_truth(
    run: tuple[Run, Judge, Judge], world: planted.World, results: Path
) -> None:
    oracle, ledger = judged_runs.open_(judged_runs.spec(world, "truth"), results)
    true = judged_runs.carry(oracle, ledger, Judge())["headline"]["difference"]
    summary = planted_runs.summary(run[0].folder)
    found = summary["evidence"]["second"]
    corrected, plain = found["corrected"]["difference"], summary["headline"]["difference"]
    assert abs(corrected["value"] - true) < 0.5 * abs(plain - true)
    assert corrected["ci_low"] <= true <= corrected["ci_high"]
    assert corrected["judge"] == pytest.approx(plain)
    assert found["judge"] == "openai/gpt-5.4"
    assert found["n"] == len(run[2].items)


def test_a_cascade_that_was_stopped_grades_nothing_twice(
    run: tuple[Run, Judge, Judge], world: planted.World, results: Path
) -> None:
    spec = judged_runs.spec(world, "stopped", **SPEC)
    stopped, ledger = judged_runs.open_(spec, results)
    first, before, after = Credulous(), Judge(stops_after=8), Judge()
    with pytest.raises(KeyboardInterrupt):
        judged_runs.carry(stopped, ledger, first, before)
    judged_runs.carry(stopped, ledger, first, after)
    pd.testing.assert_frame_equal(judged_runs.judgements(stopped), judged_runs.judgements(run[0]))
    assert Counter(first.items) == Counter(run[1].items)
    assert Counter(before.items + after.items) == Counter(run[2].items)


def test_a_cascade_follows_the_last_adaptive_round(world: planted.World, results: Path) -> None:
    """The sample is drawn from all grades of the first judge, without its unscored items."""
    run, first, second = carried(world, results, "adaptive", adaptive={"unit": 0.6})
    _, ledger = judged_runs.open_(run.spec, results)
    rows = judged_runs.judgements(run)
    graded = rows.loc[(rows["judge"] == "embedded") & (rows["repeat"] == 0) & (rows["arm"] != Arm.SHUFFLED)]
    assert len(second_judge_sample.design(ledger, run)) == len(graded)
    assert len(second.items) == pytest.approx(SHARE * len(graded), abs=6)
    assert not Counter(second.items) - Counter(first.items)
    assert SECOND_JUDGE not in set(rows["judge"]), "tables name the judge"
