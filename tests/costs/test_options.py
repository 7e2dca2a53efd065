"""`autointerp plan`: what it says is asked is what a run asks, and what it expects follows from how grades spread."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from support.planted_world import judged_runs
from support.planted_world import world as planted
from support.planted_world.judged_runs import Judge

from autointerp.cli.main import main
from autointerp.costs import options
from autointerp.spec.spec import Spec
from autointerp.stats import stopping

LLM = {"model": "anthropic/claude-haiku-4-5"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return judged_runs.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def option(plan: options.Plan, per_bin: int, per_call: int = 1) -> options.Option:
    [found] = [o for o in plan.options if (o.per_bin, o.per_call, o.adaptive) == (per_bin, per_call, False)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("per_call", [1, 5])
@pytest.mark.parametrize("controls", [{"repeated": 9}, {"planted": 0, "shuffled": 0}], ids=["repeats", "no controls"])
def test_a_plan_with_a_harvest_counts_the_questions_that_the_run_asks(
    per_call: int, controls: dict[str, Any], world: planted.World, results: Path
) -> None:
    name = f"asked-{per_call}-{len(controls)}"
    run, ledger = judged_runs.open_(
        judged_runs.spec(world, name, score={"per_call": per_call}, controls=controls), results
    )
    judge = Judge()
    judged_runs.carry(run, ledger, judge)
    planned = option(options.plan_of(run.spec, results, run), 4, per_call)
    assert planned.calls == len(judge.groups) + 32


def test_a_plan_without_a_harvest_gives_upper_bounds(world: planted.World, results: Path) -> None:
    spec = judged_runs.spec(world, "bounds", judge=LLM)
    run, _ = judged_runs.open_(spec, results)
    blind, exact = options.plan_of(spec, results), options.plan_of(spec, results, run)
    for at_most, found in zip(blind.options, exact.options, strict=True):
        assert at_most.calls >= found.calls
        assert at_most.widths.unit <= found.widths.unit + 1e-9
    assert (blind.exact, exact.exact) == (False, True)


def test_more_exemplars_cost_more_for_narrower_intervals_and_groups_cost_less(
    world: planted.World, tmp_path: Path
) -> None:
    plan = options.plan_of(judged_runs.spec(world, "order", judge=LLM), tmp_path)
    for less, more in [(1, 2), (2, 5), (5, 10)]:
        few, many = option(plan, less), option(plan, more)
        assert few.calls < many.calls
        assert few.tokens < many.tokens
        assert (few.usd or 0) < (many.usd or 0)
        assert few.widths.unit > many.widths.unit
        assert (few.widths.run or 0) > (many.widths.run or 0)
    alone, together = option(plan, 5, 1), option(plan, 5, 10)
    assert alone.tokens > 3 * together.tokens
    assert alone.widths == together.widths


@pytest.mark.slow
def test_expected_widths_come_from_the_newest_run_of_the_same_judge(world: planted.World, tmp_path: Path) -> None:
    spec = judged_runs.spec(world, "seen")
    assert options.plan_of(spec, tmp_path).spreads.source.startswith("the demo")
    run, ledger = judged_runs.open_(spec, tmp_path)
    judged_runs.carry(run, ledger, Judge())
    summary = run.folder / "summary.json"
    assert options.plan_of(spec, tmp_path).spreads.source.startswith("the demo"), "another judge's run says nothing"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"judge": "embedded"}))
    seen = options.plan_of(spec, tmp_path)
    assert seen.spreads.source == f"run {run.run_id}, by the same judge"
    rows = judged_runs.judgements(run)
    units, exemplars = (pd.read_parquet(run.folder / f"{name}.parquet") for name in ("units", "exemplars"))
    rows["document"] = rows["exemplar_id"].map(exemplars.set_index("exemplar_id")["document"])
    assert seen.spreads.of["feature"] == stopping.spread_of(stopping.cell_table(rows, units))["feature"]


def targets(spec: Spec, **wanted: float) -> Spec:
    return spec.model_copy(update={"adaptive": spec.adaptive.model_copy(update=wanted)})


def test_the_cheapest_option_that_meets_the_targets_is_marked(world: planted.World, tmp_path: Path) -> None:
    spec = judged_runs.spec(world, "targets", judge=LLM, score={"per_bin": 10})
    free = options.plan_of(spec, tmp_path)
    assert free.cheapest is None
    wanted = option(free, 3).widths.unit
    plan = options.plan_of(targets(spec, unit=wanted), tmp_path)
    best = plan.cheapest
    assert best is not None
    assert (best.per_bin, best.per_call) == (3, 10)
    assert all((o.usd or 0) >= (best.usd or 0) for o in plan.options if o.meets)
    adaptive = [o for o in plan.options if o.adaptive]
    assert {o.per_bin for o in adaptive} == {3}
    unreachable = options.plan_of(targets(spec, unit=1e-3), tmp_path)
    assert unreachable.cheapest is None
    assert {o.per_bin for o in unreachable.options if o.adaptive} == {10}


def test_the_table_is_aligned_and_fits_a_screen(world: planted.World, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(targets(judged_runs.spec(world, "table", judge=LLM), unit=0.5).to_toml())
    done = CliRunner().invoke(main, ["plan", str(spec), "--results", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    said = done.output.splitlines()
    assert len(said) < 40
    table = said[2 : said.index("", 2)]
    ends = {
        match.end() for line in table[1:] if (match := re.match(r"[ a-z0-9]{10} +\d+ +[\d,]+ +[\d,]+ +[\d.]+", line))
    }
    assert ends == {table[0].index("dollars") + len("dollars")}
    assert sum("cheapest" in line for line in table) == sum("the spec's" in line for line in table) == 1
    assert "assumes that every unit is alive and every bin is full" in done.output
    assert not list((tmp_path / "results").glob("*")), "nothing is begun"
