"""The evidence on judges of known quality: one that knows the truth, one with known errors, and a random one."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.judged_runs import Judge
from support.providers.server import ProviderServer
from support.results.tables import judgement, judgement_table

from autointerp.cli.main import main
from autointerp.findings import judge_evidence
from autointerp.labelling.sheet import open_sheet
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.messages import ScoreMaterial

SPEC: dict[str, Any] = {"controls": {"repeated": 20, "repeats": 3}, "score": {"per_call": 4}}
OPTIONS = {"confidence": 0.95, "resamples": 500, "seed": 1}


class Biased(Judge):
    """One grade too high on 30% of the texts and one too low on 10%, within the scale."""

    def grade(self, item: ScoreMaterial) -> int:
        chance = int(hashlib.sha256("".join(item.window.tokens).encode()).hexdigest()[:4], 16) / 0x10000
        return min(3, max(0, super().grade(item) + (chance < 0.3) - (chance > 0.9)))


class Wavering(Judge):
    """Gives another grade in the middle of the scale whenever it is asked again."""

    def grade(self, item: ScoreMaterial) -> int:
        true = super().grade(item)
        return true + self.items.count(item) % 2 if true in (1, 2) else true


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return judged_runs.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def truthful(world: planted.World, results: Path) -> dict[str, Any]:
    return summary(world, results, Judge())


def summary(world: planted.World, results: Path, who: Judge, **sections: Any) -> dict[str, Any]:
    run, ledger = judged_runs.open_(judged_runs.spec(world, type(who).__name__.lower(), **SPEC | sections), results)
    return judged_runs.carry(run, ledger, who)


def test_a_judge_that_knows_the_truth_grades_all_planted_units_correctly(truthful: dict[str, Any]) -> None:
    found = truthful["evidence"]["planted"]
    assert (found["hits"]["mean"], found["near"]["mean"], found["misses"]["mean"]) == (3, 0, 0)
    assert found["n_units"] == 5
    assert (found["right"], found["separates"], found["separation"]["mean"]) == (1, True, 3)
    assert truthful["evidence"]["repeats"]["n"] == 20
    assert "withheld" not in truthful["headline"]


def test_planted_units_do_not_enter_the_headline(truthful: dict[str, Any], world: planted.World, results: Path) -> None:
    without = summary(world, results, Judge(), controls=SPEC["controls"] | {"planted": 0})
    for key in ("headline", "denominator", "weightings", "bins", "density"):
        assert without[key] == truthful[key]
    assert without["evidence"]["planted"] is None
    assert without["evidence"]["normalised"] is None


def test_the_headline_is_normalised_between_floor_and_ceiling(truthful: dict[str, Any]) -> None:
    found, headline = truthful["evidence"]["normalised"], truthful["headline"]
    assert found["ceiling"] == 3
    assert 0 <= found["floor"] < 1
    room = found["ceiling"] - found["floor"]
    assert found["difference"] == pytest.approx(headline["difference"] / room)
    assert found["features"] == pytest.approx((headline["features_mean"] - found["floor"]) / room)
    assert found["ci_low"] < found["difference"] < found["ci_high"]


def test_a_biased_judge_shows_its_errors_on_planted_units(world: planted.World, results: Path) -> None:
    """About 30% of misses are graded too high and 10% of hits too low; errors in the other direction would leave the scale."""
    found = summary(world, results, Biased())["evidence"]["planted"]
    misses, hits = found["misses"], found["hits"]
    assert misses["given"]["1"] / misses["n_items"] == pytest.approx(0.3, abs=0.25)
    assert misses["given"]["1"] > 0 == misses["given"]["2"] + misses["given"]["3"]
    assert hits["given"]["2"] > 0 == hits["given"]["0"] + hits["given"]["1"]
    assert misses["mean"] == misses["given"]["1"] / misses["n_items"]
    assert found["near"]["mean"] > 0
    assert found["separates"]


def test_a_judge_that_wavers_grades_repeats_differently(
    truthful: dict[str, Any], world: planted.World, results: Path
) -> None:
    wavering = summary(world, results, Wavering(), score={"per_call": 1}, judge={"concurrency": 1})
    assert truthful["evidence"]["repeats"]["flip_rate"]["value"] == 0
    assert wavering["evidence"]["repeats"]["flip_rate"]["value"] > 0


def test_new_labels_enter_the_report_only_of_a_finished_run(
    truthful: dict[str, Any], world: planted.World, results: Path
) -> None:
    run_id, ledger = truthful["run_id"], Ledger.in_folder(results)
    sheet = open_sheet(ledger, results, run_id, "ada", 20)
    sheet.set({item.number: 3 for item in sheet.items})

    def people(state: str) -> Any:
        with ledger.write() as tx:
            runs.set_state(tx, run_id, state)
        assert CliRunner().invoke(main, ["report", run_id, "--results", str(results)]).exit_code == 0
        return json.loads((results / run_id / "summary.json").read_text(encoding="utf-8"))["evidence"]["people"]

    assert people("running") is None
    assert people("done")["n"] == 20


def test_repeats_have_the_flip_rate_and_deviation_of_their_grades() -> None:
    table = judgement_table(
        [judgement("feature-0", 1, s, repeat=r) for r, s in enumerate([1, 1, 3])]  # 2 of 3 pairs differ, var 4/3
        + [judgement("feature-0", 1, s, item=1, repeat=r) for r, s in enumerate([2, 2, None])]
        + [judgement("feature-0", 1, 0, item=2)]
    )
    found = judge_evidence.repeats(table, OPTIONS)
    assert found is not None
    assert (found.n, found.flip_rate.value) == (2, pytest.approx(1 / 3))
    assert found.within_sd.value == pytest.approx(math.sqrt(2 / 3))


def test_mean_grades_of_a_judge_that_repeats_itself_do_not_differ() -> None:
    """Token probabilities of the same question differ in the third decimal from call to call: no grade changes."""
    rows = [judgement("feature-0", 1, g, item=i, repeat=r) for i, g in enumerate([0, 3, 1, 2, 3, 3]) for r in range(3)]
    table = judgement_table(rows)
    table["expected"] = table["score"].astype(float) + 0.001 * table["repeat"]
    found = judge_evidence.repeats(table, OPTIONS)
    assert found is not None
    assert found.flip_rate.value == 0
    assert found.icc_single.value == pytest.approx(1, abs=1e-4)
    unsure = table.assign(score=table["repeat"].map({0: 1, 1: 2, 2: 2}).astype("Int64"))
    unsure["expected"] = 1.5 + 0.02 * unsure["score"].astype(float)
    wavering = judge_evidence.repeats(unsure, OPTIONS)
    assert wavering is not None
    assert wavering.flip_rate.value == pytest.approx(2 / 3), "the most likely grades are compared"
    assert wavering.icc_single.why == "undefined: all grades are 1.53"


def test_a_rater_who_skips_unevenly_is_named() -> None:
    """Half of the items that the judge graded 1 are skipped, or every fifth item whatever the judge's grade."""

    def labels(rater: str, skipped: list[bool]) -> pd.DataFrame:
        n = len(skipped)
        table = pd.DataFrame({"number": range(n), "arm": "main", "rater": rater})
        table["stratum"] = [f"main/feature/{grade}" for grade in np.arange(n) % 4]
        return table.assign(score=[None if skip else 1.0 for skip in skipped])

    hard = [i % 4 == 1 and i % 8 == 1 for i in range(80)]
    even = [i % 5 == 0 for i in range(80)]
    table = pd.concat([labels("ada", hard), labels("bea", even), labels("cy", [False] * 80)], ignore_index=True)
    ada, bea = judge_evidence.passed_over(table, seed=1)
    assert (ada.rater, ada.n, ada.n_seen, ada.uneven) == ("ada", 10, 80, True)
    assert ada.shares == {"main/feature/0": 0, "main/feature/1": 0.5, "main/feature/2": 0, "main/feature/3": 0}
    assert (bea.rater, bea.n, bea.uneven) == ("bea", 16, False)
    unreached = table.assign(rater=table["rater"].where(table["rater"] != "ada"))
    assert [each.rater for each in judge_evidence.passed_over(unreached, seed=1)] == ["bea"]


def test_the_same_exemplar_in_two_arms_is_not_a_repeat() -> None:
    table = judgement_table([judgement("feature-0", 1, 3), judgement("feature-0", 1, 0, arm="shuffled")])
    assert judge_evidence.repeats(table, OPTIONS) is None


@pytest.mark.slow
def test_the_headline_of_a_random_judge_is_withheld(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command line: exit code 3, and the reason."""
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)

    def blind(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        said = judged_runs.think(system, user, schema)
        grade = hashlib.sha256(user.encode()).digest()[0] % 4
        return said | ({"grade": grade} if "grade" in said else {})

    with ProviderServer(blind) as server:
        model = planted_runs.judge(planted_runs.MODELS[0], server)
        spec = tmp_path / "spec.toml"
        spec.write_text(judged_runs.spec(world, "blind", judge=model).to_toml())
        done = CliRunner().invoke(main, ["run", str(spec), "--quiet", "--yes", "--results", str(tmp_path / "results")])
    assert done.exit_code == 3, done.output
    assert "the judge does not tell planted words from other text" in done.output
    [folder] = (tmp_path / "results").glob("blind-*")
    found = planted_runs.summary(folder)
    assert found["evidence"]["planted"]["separates"] is False
    assert found["headline"]["difference"] is None
    assert found["weightings"]["bin_uniform"]["difference"] is not None
