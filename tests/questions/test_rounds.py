"""What a run asks in rounds: groups, repeats, adaptive sampling and other scorers, each item once, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.judged_runs import Judge
from support.providers.server import ProviderServer

from autointerp.costs import run_forecast
from autointerp.ledger import judgements
from autointerp.ledger.jobs import items_of
from autointerp.ledger.schema import jobs as job_rows
from autointerp.pipeline import stages
from autointerp.questions import rounds
from autointerp.records import Arm, Outcome
from autointerp.run import Run
from autointerp.scorers import unit_metrics
from autointerp.stats import stopping


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return judged_runs.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of this file share their harvest."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def plain(world: planted.World, results: Path) -> tuple[Run, Judge]:
    """One item a question, all at once."""
    return done(world, results, "plain")


def done(
    world: planted.World, results: Path, name: str, who: Judge | None = None, **sections: Any
) -> tuple[Run, Judge]:
    judge = who or Judge()
    run, ledger = judged_runs.open_(judged_runs.spec(world, name, **sections), results)
    judged_runs.carry(run, ledger, judge)
    ledger.close()
    return run, judge


def same(found: Run, expected: Run) -> None:
    pd.testing.assert_frame_equal(judged_runs.judgements(found), judged_runs.judgements(expected))


# Groups


def test_items_in_groups_are_judged_as_alone_and_once(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, judge = done(world, results, "grouped", score={"per_call": 7})
    same(run, plain[0])
    assert Counter(judge.items) == Counter(plain[1].items)
    assert sorted(judge.groups)[1:] == [7] * (len(judge.groups) - 1)
    assert set(plain[1].groups) == {1}


def test_a_group_mixes_units_and_arms(world: planted.World, results: Path, plain: tuple[Run, Judge]) -> None:
    run, ledger = judged_runs.open_(judged_runs.spec(world, "grouped", score={"per_call": 7}), results)
    groups = [items_of(job.items) for job in rounds.next_round(ledger, run, 0).jobs]
    assert sum(len({item.unit_id for item in group}) > 4 for group in groups) > 0.9 * len(groups)
    assert sum(len({item.arm for item in group}) > 1 for group in groups) > 0.8 * len(groups)


def test_a_stop_in_the_middle_asks_nothing_twice(world: planted.World, results: Path, plain: tuple[Run, Judge]) -> None:
    spec = judged_runs.spec(world, "stopped", score={"per_call": 7})
    run, ledger = judged_runs.open_(spec, results)
    first = Judge(stops_after=20)
    with pytest.raises(KeyboardInterrupt):
        judged_runs.carry(run, ledger, first)
    assert 20 <= len(first.groups) < 40
    again, _ = done(world, results, "stopped", second := Judge(), score={"per_call": 7})
    same(again, plain[0])
    assert Counter(first.items + second.items) == Counter(plain[1].items)


class Forgetful(Judge):
    """Leaves the third item of its fifth group out."""

    def said(self, answers: dict[str, Any]) -> dict[str, Any]:
        return {n: a for n, a in answers.items() if not (len(self.groups) == 5 and n == "3")}


def test_an_item_that_is_passed_over_costs_itself_alone(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, _ = done(world, results, "forgetful", Forgetful(), score={"per_call": 7}, judge={"concurrency": 1})
    found, whole = judged_runs.judgements(run), judged_runs.judgements(plain[0])
    lost = found["outcome"] != Outcome.SCORED
    assert list(found.loc[lost, "outcome"]) == [Outcome.PARSE_FAILURE]
    assert list(found.loc[lost, "reason"]) == ["item 3 is not answered"]
    pd.testing.assert_frame_equal(found.loc[~lost], whole.loc[~lost])


# Repeats


def test_repeats_are_of_the_chosen_items_and_never_in_one_question(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    repeated = {"repeated": 9, "repeats": 3}
    run, _ = done(world, results, "repeats", score={"per_call": 7}, controls=repeated)
    rows = judged_runs.judgements(run)
    counts = rows.loc[rows["repeat"] > 0].groupby("exemplar_id")["repeat"].agg(sorted)
    assert list(counts) == [[1, 2]] * 9
    assert set(rows.loc[rows["repeat"] > 0, "arm"]) == {Arm.MAIN}
    first = rows.loc[rows["repeat"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, judged_runs.judgements(plain[0]))
    _, ledger = judged_runs.open_(run.spec, results)
    with ledger.read() as tx:
        groups = [
            items_of(text) for (text,) in tx.execute(job_rows.select().with_only_columns(job_rows.c["items"])) if text
        ]
    assert all(len({item.repeat for item in group}) == 1 for group in groups)


# Adaptive sampling


def test_sampling_stops_where_intervals_are_narrow(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    """A pure unit's grades do not vary within a bin, those of a unit of two concepts do."""
    run, _ = done(world, results, "adaptive", adaptive={"unit": 0.6})
    main = judged_runs.judgements(run).query("arm == 'main' and kind != 'planted'")
    every = judged_runs.judgements(plain[0]).query("arm == 'main' and kind != 'planted'")
    share = main.groupby("unit_id").size() / every.groupby("unit_id").size()
    by_sort = share.groupby(share.index.map(world.kind)).mean()
    assert by_sort["pure"] == 0.5, "two of four in each bin"
    assert by_sort["pair"] > 0.75
    assert set(main["exemplar_id"]) < set(every["exemplar_id"])
    cells = stopping.cell_table(main, pd.read_parquet(run.folder / "units.parquet"))
    wide = stopping.unit_intervals(cells, 0.95)["half_width"] > 0.6
    assert (share[wide[wide].index] == 1).all(), "only units without further exemplars are left"


def test_controls_are_judged_in_full_in_the_first_round(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, ledger = judged_runs.open_(
        judged_runs.spec(world, "controls", adaptive={"unit": 0.4}, controls={"repeated": 9}), results
    )
    [items] = [[i for job in rounds.next_round(ledger, run, 0).jobs for i in job.asked]]
    whole = judged_runs.judgements(plain[0])
    for arm in (Arm.SHUFFLED, Arm.BASE_RATE, Arm.NEAR):
        assert sum(item.arm is arm for item in items) == (whole["arm"] == arm).sum()
    hits = [item for item in items if item.arm is Arm.MAIN and item.unit_id.startswith("planted")]
    assert len(hits) == ((whole["arm"] == Arm.MAIN) & (whole["kind"] == "planted")).sum()
    assert Counter(item.repeat for item in items)[1] == Counter(item.repeat for item in items)[2] == 9
    first = {item.exemplar_id for item in items if item.arm is Arm.MAIN and item.repeat == 0}
    assert {item.exemplar_id for item in items if item.repeat} <= first


def test_targets_out_of_reach_end_with_the_exemplars(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, judge = done(world, results, "unreachable", adaptive={"unit": 1e-6}, score={"per_call": 7})
    same(run, plain[0])
    assert Counter(judge.items) == Counter(plain[1].items)


STRAIGHT: dict[str, Any] = {"adaptive": {"unit": 0.6}, "score": {"per_call": 3}}


@pytest.fixture(scope="module")
def straight(world: planted.World, results: Path) -> tuple[Run, Judge]:
    """An adaptive run in one sitting."""
    return done(world, results, "straight", **STRAIGHT)


@pytest.mark.parametrize("at", ["question", "plan"])
def test_adaptive_rounds_are_taken_up_again(
    at: str, world: planted.World, results: Path, straight: tuple[Run, Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a round was planned and not yet noted as such: it is planned again when some of it is answered."""
    run, ledger = judged_runs.open_(judged_runs.spec(world, f"resumed-{at}", **STRAIGHT), results)
    first, second = Judge(stops_after=len(straight[1].groups) - 10 if at == "question" else None), Judge()
    with monkeypatch.context() as patch:
        if at == "plan":
            noted = stages.end_planning
            patch.setattr(stages, "end_planning", lambda *of: noted(*of) if of[2] < 1 else stop())
        with pytest.raises(KeyboardInterrupt):
            judged_runs.carry(run, ledger, first)
    assert first.items
    judged_runs.carry(run, ledger, second)
    same(run, straight[0])
    assert Counter(first.items + second.items) == Counter(straight[1].items)


def stop() -> None:
    raise KeyboardInterrupt


# Other scorers


def test_other_scorers_are_asked_in_a_run(world: planted.World, results: Path) -> None:
    """Detection by a judge that knows; texts by a writer that knows, read by the subject."""
    also: dict[str, Any] = {"per_bin": 4, "also": ["detection", "sensitivity"]}
    run, judge = done(world, results, "scorers", score=also, controls={"base_rate": 6})
    figures = pd.read_parquet(run.folder / "scorers.parquet").set_index(["scorer", "figure"])
    of = figures.assign(sort=[world.kind(u) if u[0] in "fn" else "planted" for u in figures["unit_id"]])
    detected = of.loc[("detection", "balanced_accuracy")].groupby("sort")["value"].agg(["min", "max"])
    assert list(detected.loc["pure"]) == list(detected.loc["planted"]) == [1.0, 1.0]
    written = of.loc[("sensitivity", "sensitivity")].groupby("sort")["value"].agg(["min", "max"])
    assert list(written.loc["pure"]) == [1.0, 1.0]
    assert list(written.loc["noise"]) == [0.0, 0.0]
    assert "planted" not in written.index, "the subject knows nothing of planted units"
    found = {scorer["scorer"]: scorer for scorer in planted_runs.summary(run.folder)["scorers"]}
    assert list(found) == ["detection", "sensitivity"]
    assert all(scorer["n_unscored"] == 0 and scorer["n"] > 0 for scorer in found.values())
    assert judge.tasks["write"] == 2 * of.loc[("sensitivity", "sensitivity")]["unit_id"].nunique()


class Mute(Judge):
    """Answers no question of detection about the concept of a harbour."""

    def task(self, material: Any) -> Any:
        return {"sorry": True} if "harbour" in material.explanation else super().task(material)


def test_answers_that_failed_are_counted(world: planted.World, results: Path) -> None:
    run, judge = done(world, results, "mute", Mute(), score={"also": ["detection"]})
    _, ledger = judged_runs.open_(run.spec, results)
    with ledger.read() as tx:
        answers = judgements.answers_of(tx, run.run_id)
    failed = sum(answer.outcome is Outcome.PARSE_FAILURE for answer in answers)
    assert 0 < failed < len(answers) == judge.tasks["detection"]
    [found] = planted_runs.summary(run.folder)["scorers"]
    assert found["unscored"] == {"parse_failure": failed} == unit_metrics.of_run(ledger, run).unscored["detection"]
    assert found["n_unscored"] > 0


# What is foreseen


def test_the_first_round_is_foreseen_exactly(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    with ProviderServer(judged_runs.think) as server:
        sections: dict[str, Any] = {
            "adaptive": {"unit": 0.4},
            "score": {"per_call": 5, "also": ["detection"]},
            "controls": {"repeated": 5},
            "judge": planted_runs.judge(planted_runs.MODELS[0], server),
        }
        run, ledger = judged_runs.open_(judged_runs.spec(world, "foreseen", **sections), tmp_path)
        forecast = run_forecast.forecast(run, ledger)
        assert not server.books
        plan_round = stages.plan_round
        monkeypatch.setattr(stages, "plan_round", lambda a, b, n: plan_round(a, b, n) if n < 1 else stop())
        with pytest.raises(KeyboardInterrupt):
            planted_runs.carry(run, ledger)
    assert {stage.stage: stage.cost.calls for stage in forecast.stages}["explain"] == 32
    assert sum(stage.cost.calls for stage in forecast.stages) == len(server.books)
    assert len({entry.body_hash for entry in server.books}) == len(server.books)
