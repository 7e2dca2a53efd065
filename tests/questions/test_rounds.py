"""Rounds of questions: groups, repeats, adaptive sampling and other scorers, with each item asked once even after a stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.judged_runs import Judge
from support.providers.server import ProviderServer

from autointerp.calls import groups
from autointerp.costs import run_forecast
from autointerp.ledger import judgements
from autointerp.ledger.jobs import decode_items
from autointerp.ledger.schema import jobs as job_rows
from autointerp.pipeline import stages
from autointerp.questions import rounds
from autointerp.records import Arm, Outcome
from autointerp.run import Run
from autointerp.scorers import unit_metrics
from autointerp.spec.spec import Spec
from autointerp.stats import stopping

pytestmark = pytest.mark.slow

UNITS = {"feature_ids": [0, 1, 8, 9, 12, 13], "neuron_ids": [f"{i}+" for i in (0, 1, 4, 5, 10, 11)]}
"""Two features and two neurons of each sort."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return judged_runs.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of this file share their harvest."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def plain(world: planted.World, results: Path) -> tuple[Run, Judge]:
    """A run with one item per question, all in one round."""
    return done(world, results, "plain")


def spec_of(world: planted.World, name: str, **sections: Any) -> Spec:
    return judged_runs.spec(world, name, **({"units": UNITS} | sections))


def done(
    world: planted.World, results: Path, name: str, who: Judge | None = None, **sections: Any
) -> tuple[Run, Judge]:
    judge = who or Judge()
    run, ledger = judged_runs.open_(spec_of(world, name, **sections), results)
    judged_runs.carry(run, ledger, judge)
    ledger.close()
    return run, judge


def assert_same_judgements(run: Run, expected: Run) -> None:
    pd.testing.assert_frame_equal(judged_runs.judgements(run), judged_runs.judgements(expected))


# Groups


def test_grouped_items_get_the_same_judgements_as_single_ones_and_are_asked_once(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, judge = done(world, results, "grouped", score={"per_call": 7})
    assert_same_judgements(run, plain[0])
    assert Counter(judge.items) == Counter(plain[1].items)
    assert sorted(judge.groups)[1:] == [7] * (len(judge.groups) - 1)
    assert set(plain[1].groups) == {1}


def test_a_group_mixes_units_and_arms(world: planted.World, results: Path, plain: tuple[Run, Judge]) -> None:
    run, ledger = judged_runs.open_(spec_of(world, "grouped", score={"per_call": 7}), results)
    groups = [decode_items(job.items) for job in rounds.next_round(ledger, run, 0).jobs]
    assert sum(len({item.unit_id for item in group}) > 4 for group in groups) > 0.9 * len(groups)
    assert sum(len({item.arm for item in group}) > 1 for group in groups) > 0.8 * len(groups)


def test_a_run_stopped_between_groups_asks_nothing_twice(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    spec = spec_of(world, "stopped", score={"per_call": 7})
    run, ledger = judged_runs.open_(spec, results)
    first = Judge(stops_after=20)
    with pytest.raises(KeyboardInterrupt):
        judged_runs.carry(run, ledger, first)
    assert 20 <= len(first.groups) < 40
    again, _ = done(world, results, "stopped", second := Judge(), score={"per_call": 7})
    assert_same_judgements(again, plain[0])
    assert Counter(first.items + second.items) == Counter(plain[1].items)


Numbering = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Misnumbering(Judge):
    """Numbers its answers wrongly, in the first `n_times` groups that it is asked."""

    numbering: Numbering = dict
    n_times: int = 10**6

    def said(self, answers: dict[str, Any]) -> dict[str, Any]:
        self.n_times -= 1
        return answers if self.n_times < 0 else self.numbering(answers)


NUMBERINGS: dict[str, Numbering] = {
    "from 0": lambda answers: {str(int(n) - 1): answer for n, answer in answers.items()},
    "shifted by one": lambda answers: {str(int(n) + 1): answer for n, answer in answers.items()},
    "an item skipped, the rest renumbered": lambda answers: {
        str(n): answer for n, answer in enumerate((a for n, a in answers.items() if n != "2"), 1)
    },
    "an item left out": lambda answers: {n: a for n, a in answers.items() if n != "2"},
    "under one more key": lambda answers: {"0": next(iter(answers.values()))} | answers,
}


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_a_group_numbered_wrongly_once_is_asked_again(
    numbering: str, world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    judge = Misnumbering(numbering=NUMBERINGS[numbering], n_times=1)
    run, _ = done(world, results, f"once {numbering}", judge, score={"per_call": 7}, judge={"concurrency": 1})
    assert_same_judgements(run, plain[0])
    assert len(judge.items) == len(plain[1].items) + judge.groups[0]


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_items_of_a_judge_that_always_numbers_wrongly_are_asked_about_alone(
    numbering: str, world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    judge = Misnumbering(numbering=NUMBERINGS[numbering])
    run, _ = done(world, results, f"always {numbering}", judge, score={"per_call": 7})
    assert_same_judgements(run, plain[0])
    assert Counter(judge.items) == Counter(plain[1].items * (groups.TRIES + 1))
    assert len(plain[1].items) <= judge.groups.count(1) <= len(plain[1].items) + groups.TRIES


def test_a_run_stopped_while_it_asks_items_alone_asks_nothing_twice(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    class Paid(Misnumbering):
        """Asked only for what the ledger does not hold."""

        is_llm = True

    first = Paid(numbering=NUMBERINGS["from 0"], stops_after=100)
    run, ledger = judged_runs.open_(spec_of(world, "halved", score={"per_call": 7}), results)
    with pytest.raises(KeyboardInterrupt):
        judged_runs.carry(run, ledger, first)
    ledger.close()
    again, second = done(world, results, "halved", Paid(numbering=NUMBERINGS["from 0"]), score={"per_call": 7})
    assert_same_judgements(again, plain[0])
    asked = Counter(n for n in first.groups + second.groups if n > 1)
    assert asked[7] == groups.TRIES * (len(plain[1].items) // 7)
    assert (first.groups + second.groups).count(1) <= len(plain[1].items)


# Repeats


def test_repeats_of_an_item_are_never_in_the_same_question(
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
            decode_items(text)
            for (text,) in tx.execute(job_rows.select().with_only_columns(job_rows.c["items"]))
            if text
        ]
    assert all(len({item.repeat for item in group}) == 1 for group in groups)


# Adaptive sampling


def test_adaptive_sampling_stops_where_intervals_are_narrow(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    """The grades of a pure unit do not vary within a bin; those of a unit with two concepts do."""
    run, _ = done(world, results, "adaptive", adaptive={"unit": 0.6})
    main = judged_runs.judgements(run).query("arm == 'main' and kind != 'planted'")
    every = judged_runs.judgements(plain[0]).query("arm == 'main' and kind != 'planted'")
    share = main.groupby("unit_id").size() / every.groupby("unit_id").size()
    by_sort = share.groupby(share.index.map(world.kind)).mean()
    assert by_sort["pure"] == 0.5, "two of four in each bin"
    assert by_sort["pair"] > 0.65
    assert set(main["exemplar_id"]) < set(every["exemplar_id"])
    cells = stopping.cell_table(main, pd.read_parquet(run.folder / "units.parquet"))
    wide = stopping.unit_intervals(cells, 0.95)["half_width"] > 0.6
    assert (share[wide[wide].index] == 1).all(), "only units without further exemplars are left"


def test_controls_are_judged_in_full_in_the_first_round(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, ledger = judged_runs.open_(
        spec_of(world, "controls", adaptive={"unit": 0.4}, controls={"repeated": 9}), results
    )
    [items] = [[i for job in rounds.next_round(ledger, run, 0).jobs for i in job.question_items]]
    whole = judged_runs.judgements(plain[0])
    for arm in (Arm.SHUFFLED, Arm.BASE_RATE, Arm.NEAR):
        assert sum(item.arm is arm for item in items) == (whole["arm"] == arm).sum()
    once = [item for item in items if item.arm is Arm.MAIN and item.repeat == 0]
    hits = [item for item in once if item.unit_id.startswith("planted")]
    assert len(hits) == ((whole["arm"] == Arm.MAIN) & (whole["kind"] == "planted")).sum()
    assert Counter(item.repeat for item in items)[1] == Counter(item.repeat for item in items)[2] == 9
    assert {item.exemplar_id for item in items if item.repeat} <= {item.exemplar_id for item in once}


def test_unreachable_targets_judge_every_exemplar(
    world: planted.World, results: Path, plain: tuple[Run, Judge]
) -> None:
    run, judge = done(world, results, "unreachable", adaptive={"unit": 1e-6}, score={"per_call": 7})
    assert_same_judgements(run, plain[0])
    assert Counter(judge.items) == Counter(plain[1].items)


STRAIGHT: dict[str, Any] = {"adaptive": {"unit": 0.6}, "score": {"per_call": 3}}


@pytest.fixture(scope="module")
def straight(world: planted.World, results: Path) -> tuple[Run, Judge]:
    """An adaptive run that was not stopped."""
    return done(world, results, "straight", **STRAIGHT)


@pytest.mark.parametrize("at", ["question", "plan"])
def test_adaptive_rounds_resume_after_a_stop(
    at: str, world: planted.World, results: Path, straight: tuple[Run, Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a round's jobs were added but its planning not marked as done: it is planned again when part of it is answered."""
    run, ledger = judged_runs.open_(spec_of(world, f"resumed-{at}", **STRAIGHT), results)
    first, second = Judge(stops_after=len(straight[1].groups) - 10 if at == "question" else None), Judge()
    with monkeypatch.context() as patch:
        if at == "plan":
            noted = stages.end_planning
            patch.setattr(stages, "end_planning", lambda *of: noted(*of) if of[2] < 1 else stop())
        with pytest.raises(KeyboardInterrupt):
            judged_runs.carry(run, ledger, first)
    assert first.items
    judged_runs.carry(run, ledger, second)
    assert_same_judgements(run, straight[0])
    assert Counter(first.items + second.items) == Counter(straight[1].items)


def stop() -> None:
    raise KeyboardInterrupt


# Other scorers


def test_a_run_asks_the_scorers_that_its_spec_names(world: planted.World, results: Path) -> None:
    """The judge knows the concepts: it answers detection rightly, and writes texts that the subject then reads."""
    also: dict[str, Any] = {"per_bin": 4, "also": ["detection", "sensitivity"]}
    run, judge = done(world, results, "scorers", score=also, controls={"base_rate": 6})
    figures = pd.read_parquet(run.folder / "scorers.parquet").set_index(["scorer", "figure"])
    of = figures.assign(sort=[world.kind(u) if u[0] in "fn" else "planted" for u in figures["unit_id"]])
    detected = of.loc[("detection", "balanced_accuracy")].groupby("sort")["value"].agg(["min", "max"])
    assert list(detected.loc["pure"]) == list(detected.loc["planted"]) == [1.0, 1.0]
    written = of.loc[("sensitivity", "sensitivity")].groupby("sort")["value"].agg(["min", "max"])
    assert list(written.loc["pure"]) == [1.0, 1.0]
    assert list(written.loc["noise"]) == [0.0, 0.0]
    assert "planted" not in written.index, "the subject does not contain planted units"
    summaries = {scorer["scorer"]: scorer for scorer in planted_runs.summary(run.folder)["scorers"]}
    assert list(summaries) == ["detection", "sensitivity"]
    assert all(scorer["n_unscored"] == 0 and scorer["n"] > 0 for scorer in summaries.values())
    assert judge.tasks["write"] == 2 * of.loc[("sensitivity", "sensitivity")]["unit_id"].nunique()


@dataclass
class FromZero(Judge):
    """Numbers the texts of detection questions from 0 if there are several."""

    def task(self, material: Any) -> Any:
        answers = super().task(material)
        return NUMBERINGS["from 0"](answers) if len(answers) > 1 else answers


def test_a_scorer_asks_about_texts_alone_if_they_are_numbered_wrongly(world: planted.World, results: Path) -> None:
    right, _ = done(world, results, "numbered", score={"also": ["detection"]})
    wrong, judge = done(world, results, "from zero", FromZero(), score={"also": ["detection"]})
    [expected], [found] = (planted_runs.summary(run.folder)["scorers"] for run in (right, wrong))
    assert found == expected
    assert judge.tasks["detection"] > 2 * expected["n"] / 5 + expected["n"] - 1


class Mute(Judge):
    """Gives no usable answer to detection questions about the concept of a harbour."""

    def task(self, material: Any) -> Any:
        return {"sorry": True} if "harbour" in material.explanation else super().task(material)


def test_failed_answers_of_scorers_are_counted(world: planted.World, results: Path) -> None:
    run, judge = done(world, results, "mute", Mute(), score={"also": ["detection"]})
    _, ledger = judged_runs.open_(run.spec, results)
    with ledger.read() as tx:
        answers = judgements.answers_of(tx, run.run_id)
    failed = sum(answer.outcome is Outcome.PARSE_FAILURE for answer in answers)
    assert 0 < failed < len(answers) < judge.tasks["detection"]
    [summary] = planted_runs.summary(run.folder)["scorers"]
    assert summary["unscored"] == {"parse_failure": failed} == unit_metrics.of_run(ledger, run).unscored["detection"]
    assert summary["n_unscored"] > 0


# Forecast


def test_the_forecast_of_the_first_round_is_exact(
    world: planted.World, results: Path, monkeypatch: pytest.MonkeyPatch
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
        run, ledger = judged_runs.open_(spec_of(world, "forecast", **sections), results)
        forecast = run_forecast.forecast(run, ledger)
        assert not server.books
        plan_round = stages.plan_round
        monkeypatch.setattr(stages, "plan_round", lambda a, b, n: plan_round(a, b, n) if n < 1 else stop())
        with pytest.raises(KeyboardInterrupt):
            planted_runs.carry(run, ledger)
    assert {stage.stage: stage.cost.calls for stage in forecast.stages}["explain"] == 12
    assert sum(stage.cost.calls for stage in forecast.stages) == len(server.books)
    assert len({entry.body_hash for entry in server.books}) == len(server.books)
