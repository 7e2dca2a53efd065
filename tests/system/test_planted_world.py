"""The whole run over a world whose truth is known: it must find that truth, and lose it when explanations are swapped."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.planted_world import world as planted
from support.planted_world.truth import BINS, Counting, Oracle, Result, carry, harvested

import sae.harvest.harvest
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("planted") / "world")


@pytest.fixture(scope="module")
def oracle(world: planted.World) -> Oracle:
    return Oracle(world)


@pytest.fixture(scope="module")
def run(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return carry(
        world.spec(score={"per_bin": 6}, controls={"shuffled": 6, "base_rate": 6}), tmp_path_factory.mktemp("run")
    )


def by_kind(world: planted.World, units: pd.DataFrame, column: str) -> pd.Series:
    return units.groupby([units["kind"], units["unit_id"].map(world.kind)])[column].mean()


# What the run finds


def test_every_token_at_which_a_unit_fires_is_counted_in_its_bin(run: Result, oracle: Oracle) -> None:
    for unit in run.units.itertuples():
        bins = oracle.bins(unit.unit_id)
        assert list(unit.bin_events) == [len(bins[b]) for b in range(1, BINS + 1)], unit.unit_id
        assert unit.n_events == len(oracle.events(unit.unit_id)) == sum(unit.histogram)
        assert unit.density == pytest.approx(unit.n_events / len(oracle.cells))
        peak = max(event.activation for event in oracle.events(unit.unit_id))
        assert unit.max_activation == pytest.approx(peak, rel=1e-4)


def test_exemplars_equal_the_text_of_the_corpus(run: Result, oracle: Oracle) -> None:
    words = run.words()
    for row in run.exemplars.itertuples():
        assert words[row.exemplar_id] == oracle.cells[row.document, row.position]
    scored = run.exemplars.loc[run.exemplars["role"] == "score"]
    for unit_id, rows in scored.groupby("unit_id"):
        truth = {event.cell: (event.activation, b) for b, found in oracle.bins(unit_id).items() for event in found}
        for row in rows.itertuples():
            activation, bin_ = truth[row.document, row.position]
            assert row.activation == pytest.approx(activation, rel=1e-4)
            assert row.bin == bin_


def test_pure_units_score_above_paired_and_noisy_ones(run: Result, world: planted.World) -> None:
    means = by_kind(world, run.units, "mean_score")
    for kind in ("feature", "neuron"):
        assert means[kind, "pure"] > means[kind, "pair"] + 0.3 > means[kind, "noise"] + 0.6
        assert means[kind, "noise"] == 0
    assert run.summary["headline"]["features_mean"] > run.summary["headline"]["neurons_mean"]


def test_units_of_one_concept_have_exactly_the_planted_curve(run: Result, world: planted.World) -> None:
    rows = run.main().assign(planted=lambda frame: frame["unit_id"].map(world.kind))
    pure = rows.loc[rows["planted"] == "pure"]
    assert set(pure.loc[pure["bin"] <= 5, "score"]) == {1}
    assert set(pure.loc[pure["bin"] > 5, "score"]) == {3}
    assert set(pure["bin"]) == set(range(1, BINS + 1))
    assert pure.groupby("unit_id").size().between(5 * BINS, 6 * BINS).all()  # windows that overlap are left out


def test_the_curve_of_each_kind_is_the_true_one(run: Result, oracle: Oracle) -> None:
    truth = {
        kind: [oracle.means(unit_id, run.explanation(unit_id)) for unit_id in rows["unit_id"]]
        for kind, rows in run.units.groupby("kind")
    }
    assert len(run.summary["bins"]) == 2 * BINS
    for row in run.summary["bins"]:
        expected = np.mean([means[row["bin"]] for means in truth[row["kind"]] if row["bin"] in means])
        assert row["ci_low"] <= expected <= row["ci_high"], row
        assert row["mean"] == pytest.approx(expected, abs=0.25)
        assert row["events"] == sum(len(oracle.bins(u)[row["bin"]]) for u in _ids(run, row["kind"]))
        shares = np.array([row[f"share_{grade}"] for grade in range(4)])
        assert shares.sum() == pytest.approx(1)
        assert shares @ np.arange(4) == pytest.approx(row["mean"])


@pytest.mark.parametrize("weighting", ["bin_uniform", "frequency"])
def test_the_difference_is_the_true_one(run: Result, oracle: Oracle, weighting: str) -> None:
    score = oracle.uniform if weighting == "bin_uniform" else oracle.frequency
    truth = {u: score(u, run.explanation(u)) for u in run.units["unit_id"]}

    def mean(kind: str) -> float:
        if weighting == "frequency":
            return float(np.mean([truth[u] for u in _ids(run, kind)]))
        of_units = [oracle.means(u, run.explanation(u)) for u in _ids(run, kind)]
        bins = run.summary["headline"]["bins_compared"]
        return float(np.mean([np.mean([means[b] for means in of_units if b in means]) for b in bins]))

    features, neurons = mean("feature"), mean("neuron")
    found = run.summary["weightings"][weighting]
    assert found["ci_low"] <= features - neurons <= found["ci_high"]
    assert found["features_mean"] == pytest.approx(features, abs=0.08)
    assert found["neurons_mean"] == pytest.approx(neurons, abs=0.08)
    column = {"bin_uniform": "mean_score", "frequency": "mean_score_frequency"}[weighting]
    for unit in run.units.itertuples():
        exact = oracle.world.kind(unit.unit_id) in ("pure", "noise")
        assert getattr(unit, column) == pytest.approx(truth[unit.unit_id], abs=1e-9 if exact else 0.5)


def test_the_two_weightings_differ_where_bins_are_uneven(oracle: Oracle) -> None:
    """Guards the test above: were all bins equally full, it would not notice the weights."""
    gaps = [
        abs(oracle.uniform(u, w) - oracle.frequency(u, w))
        for u, w in (("feature-0", "harbour"), ("neuron-1+", "orchard"))
    ]
    assert min(gaps) > 1e-3


def _ids(run: Result, kind: str) -> list[str]:
    return list(run.units.loc[run.units["kind"] == kind, "unit_id"])


# Controls


def test_controls_are_at_the_floor(run: Result, world: planted.World) -> None:
    controls, rows, words = run.summary["controls"], run.judgements, run.words()
    assert controls["base_rate"]["all"]["mean"] == 0
    assert controls["base_rate"]["all"]["n"] == 6 * len(run.units)
    shuffled = rows.loc[rows["arm"] == "shuffled"]
    assert len(shuffled) == 6 * len(run.units)
    assert (shuffled["explanation_unit_id"] != shuffled["unit_id"]).all()
    assert controls["shuffled"]["all"]["mean"] < 0.1 * controls["main"]["all"]["mean"]
    for row in shuffled.itertuples():
        assert row.score == planted.grade(run.explanation(row.explanation_unit_id), words[row.exemplar_id])
        if row.score:
            lent = planted.said(run.explanation(row.explanation_unit_id))
            assert lent in world.answers(row.unit_id), "only a lent explanation that happens to fit"
    for name in ("main_minus_shuffled", "main_minus_base_rate"):
        assert controls[name]["ci_low"] > 0.5
    assert run.summary["unscored"] == {}
    assert not any("cannot tell" in caution for caution in run.summary["cautions"])


def test_the_difference_vanishes_with_swapped_explanations(world: planted.World, tmp_path: Path) -> None:
    swapped = carry(world.spec(), tmp_path, planted.SwappedJudge())
    assert swapped.summary["controls"]["main"]["all"]["mean"] == 0
    assert set(swapped.main()["score"]) == {0}
    assert any("cannot tell a unit's own explanation" in caution for caution in swapped.summary["cautions"])


# Sampling


def test_explaining_and_judging_share_no_document(run: Result) -> None:
    rows = run.exemplars
    explaining = rows.loc[rows["role"].str.startswith("explain_")]
    judging = rows.loc[rows["role"].isin(["score", "quiet"])]
    assert set(run.judgements["exemplar_id"]) == set(judging["exemplar_id"])
    assert set(explaining["role"]) == {"explain_top", "explain_spread", "explain_quiet"}
    assert not set(explaining["document"]) & set(judging["document"])
    both = explaining["document"].nunique() + judging["document"].nunique()
    assert explaining["document"].nunique() > 0.3 * both < judging["document"].nunique() + 0.3 * both
    assert run.exemplars.groupby(["unit_id", "document", "position"]).size().max() == 1


def test_a_quota_above_the_supply_takes_every_event_whose_window_overlaps_no_other(
    world: planted.World, oracle: Oracle, tmp_path: Path
) -> None:
    ids = {"feature_ids": [0, 8], "neuron_ids": ["0+", "4+"]}
    units, exemplars = harvested(world.spec(units=ids, score={"per_bin": 200}), tmp_path)
    scored = exemplars.loc[exemplars["role"] == "score"]
    documents = set(scored["document"])
    assert 0.35 < len(documents) / 300 < 0.65
    for unit in units.itertuples():
        rows = scored.loc[scored["unit_id"] == unit.unit_id]
        bins = oracle.bins(unit.unit_id)
        truth = {event.cell: bin_ for bin_, events in bins.items() for event in events if event.cell[0] in documents}
        found = {(row.document, row.position): row for row in rows.itertuples()}
        assert found.keys() <= truth.keys()
        windows = [window(row) for row in rows.itertuples()]
        assert not overlapping(windows)
        for document, position in truth.keys() - found.keys():
            assert any(d == document and first - 16 < position < first + n + 16 for d, first, n in windows)
        for bin_, events in bins.items():
            of_bin = rows.loc[rows["bin"] == bin_, "inclusion_probability"]
            judging = sum(truth.get(event.cell) == bin_ for event in events)
            assert unit.judging_bin_events[bin_ - 1] == judging
            assert (1 / of_bin).sum() == pytest.approx(2 * judging, rel=0.25), (unit.unit_id, bin_)
        # All events are known, but for the last of a document that has several in one stratum.
        assert rows["inclusion_probability"].isin(np.arange(1, 129) / 256).mean() > 0.95


def overlapping(windows: list[tuple[int, int, int]]) -> bool:
    """Whether two of the windows, each a document, a position and a length, share a token."""
    ordered = sorted(windows)
    return any(a[0] == b[0] and b[1] < a[1] + a[2] for a, b in pairwise(ordered))


def test_no_window_is_judged_twice_in_part_and_a_bin_is_judged_in_documents_of_its_own(
    run: Result, oracle: Oracle
) -> None:
    judged = run.exemplars.loc[run.exemplars["role"].isin(["score", "quiet"])]
    for _, rows in judged.groupby("unit_id"):
        assert not overlapping([window(row) for row in rows.itertuples()])
    scored = judged.loc[judged["role"] == "score"]
    documents, n_enough = set(scored["document"]), 0
    for (unit_id, bin_), rows in scored.groupby(["unit_id", "bin"]):
        if len({event.cell[0] for event in oracle.bins(unit_id)[bin_]} & documents) >= 12:
            n_enough += 1
            assert not rows.duplicated("document").any()
    assert n_enough > 100


def window(row: Any) -> tuple[int, int, int]:
    """Document, first position and length of an exemplar's window."""
    return row.document, row.position - row.mark, len(row.tokens)


def test_a_larger_sample_contains_the_smaller(world: planted.World, run: Result, tmp_path: Path) -> None:
    _, larger = harvested(world.spec(score={"per_bin": 12}, controls={"base_rate": 6}), tmp_path)
    before, after = (
        {
            role: set(zip(rows["exemplar_id"], rows["bin"], rows["mark"], strict=True))
            for role, rows in f.groupby("role")
        }
        for f in (run.exemplars, larger)
    )
    assert before["score"] < after["score"]
    assert all(before[role] == after[role] for role in ("explain_top", "explain_quiet"))
    # A silent window gives way to a judged one that it overlaps.
    lost = (
        run.exemplars.loc[run.exemplars["role"] == "quiet"]
        .set_index("exemplar_id")
        .drop({q[0] for q in after["quiet"]}, errors="ignore")
    )
    assert 0 < len(lost) < 0.1 * len(before["quiet"])
    for row in lost.itertuples():
        judged = larger.loc[(larger["unit_id"] == row.unit_id) & (larger["role"] == "score")]
        assert any(overlapping([window(row), window(other)]) for other in judged.itertuples())


def test_the_position_of_the_mark_does_not_reveal_the_arm(world: planted.World, tmp_path: Path) -> None:
    _, exemplars = harvested(world.spec(score={"per_bin": 25}, controls={"base_rate": 150}), tmp_path)
    rows = exemplars.loc[exemplars["role"].isin(["score", "quiet"])]
    length, mark = rows["tokens"].str.len(), rows["mark"]
    is_main, half = (rows["role"] == "score").to_numpy(), (rows["document"] % 2 == 0).to_numpy()
    assert min(is_main.sum(), (~is_main).sum()) > 3000
    assert set(mark) == set(range(16)), "the mark stands everywhere"
    places = {"from the start": mark, "from the end": length - mark, "relative": (20 * mark / length).astype(int)}
    for name, place in places.items():
        assert best_threshold(place.to_numpy(), is_main) < 0.54, name
        assert abs(lookup(place.to_numpy(), is_main, half) - 0.5) < 0.05, name
    leaking = np.where(is_main, 8, mark)
    assert best_threshold(leaking, is_main) > 0.7
    assert lookup(leaking, is_main, half) > 0.9, "a peer's leak must be noticed"


def best_threshold(place: np.ndarray, is_main: np.ndarray) -> float:
    """Balanced accuracy of the best rule `place >= t` or `place < t`, fitted on the very data."""
    hits = [((place >= t)[is_main].mean() + (place < t)[~is_main].mean()) / 2 for t in np.unique(place)]
    return float(max(max(hits), 1 - min(hits)))


def lookup(place: np.ndarray, is_main: np.ndarray, half: np.ndarray) -> float:
    """Balanced accuracy, on one half of the documents, of the likelier arm at each place in the other half."""
    main, quiet = (Counter(place[half & arm].tolist()) for arm in (is_main, ~is_main))
    scale = sum(main.values()) / sum(quiet.values())
    says = np.array([main[p] > scale * quiet[p] for p in place.tolist()])
    return float((says[is_main & ~half].mean() + (~says)[~is_main & ~half].mean()) / 2)


@pytest.mark.parametrize(
    ("batch_tokens", "shard_tokens", "n_shards"), [(128, 1 << 20, 1), (128, 3000, 8), (200, 9000, 4), (4096, 3000, 1)]
)
def test_batches_and_shards_do_not_change_the_sample(
    world: planted.World, run: Result, tmp_path: Path, batch_tokens: int, shard_tokens: int, n_shards: int
) -> None:
    controls = {"shuffled": 6, "base_rate": 6}
    cut = {"window_tokens": 16, "batch_tokens": batch_tokens, "shard_tokens": shard_tokens}
    units, exemplars = harvested(world.spec(score={"per_bin": 6}, controls=controls, harvest=cut), tmp_path)
    [plan] = tmp_path.glob("artifacts/*/plan.json")
    assert json.loads(plan.read_text())["shards"] == n_shards
    assert_same(exemplars, run.exemplars)
    assert_same(units, run.units[units.columns])


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal bit for bit, floats within a rounding of bfloat16."""
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected)
    for name in found:
        a, b = found[name].to_list(), expected[name].to_list()
        if name == "token_activations":
            np.testing.assert_allclose(np.concatenate(a), np.concatenate(b), rtol=1e-2, atol=1e-6)
        elif found[name].dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-5)
        else:
            assert [_plain(x) for x in a] == [_plain(x) for x in b], name


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


# Denominators and resuming


def test_dead_and_barely_active_units_stay_in_the_denominator(tmp_path: Path) -> None:
    world = planted.make(tmp_path / "world", idle=True)
    assert [world.kind(f"feature-{i}") for i in (16, 17)] == ["rare", "absent"]
    spec = world.spec(units={"feature_ids": list(range(18)), "neuron_ids": [*(f"{i}+" for i in range(16)), "0-"]})
    judge = Counting()
    run = carry(spec, tmp_path / "results", judge)
    status = run.units.set_index("unit_id")["status"]
    assert (status["feature-16"], status["feature-17"], status["neuron-0-"]) == ("barely_active", "dead", "dead")
    rest = {"unexplained": 0, "unscored": 0, "scored": 16}
    assert run.summary["denominator"]["feature"] == {"sampled": 18, "dead": 1, "barely_active": 1, **rest}
    assert run.summary["denominator"]["neuron"] == {"sampled": 17, "dead": 1, "barely_active": 0, **rest}
    assert (run.summary["headline"]["n_features"], run.summary["headline"]["n_neurons"]) == (18, 17)
    assert run.summary["headline"]["n_features_scored"] == 16
    idle = run.units.loc[run.units["status"] != "alive"]
    assert idle["explanation"].isna().all()
    assert idle["mean_score"].isna().all()
    assert not set(idle["unit_id"]) & set(run.judgements["unit_id"])
    rare = run.units.set_index("unit_id").loc["feature-16"]
    assert (rare["n_events"], sum(rare["bin_events"])) == (3, 3)
    assert judge.asked == len(run.judgements) + 32
    zeroed = run.summary["difference_if_unscored_units_are_zero"]
    idle_units, compared = {"feature": 2, "neuron": 1}, run.summary["headline"]["bins_compared"]
    features, neurons = (
        np.mean(
            [
                row["mean"] * row["n_units"] / (row["n_units"] + idle_units[kind])
                for row in run.summary["bins"]
                if row["kind"] == kind and row["bin"] in compared
            ]
        )
        for kind in ("feature", "neuron")
    )
    assert zeroed == pytest.approx(features - neurons)
    assert re.search("feature.17", (run.folder / "report.html").read_text())


def test_the_same_command_again_recomputes_nothing(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = world.spec(
        units={"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}, score={"per_bin": 2}
    )
    first = carry(spec, tmp_path)
    monkeypatch.setattr(sae.harvest.harvest, "read_shard", lambda *_: pytest.fail("harvested again"))
    judge = Counting()
    second = carry(spec, tmp_path, judge)
    assert judge.asked == 0
    assert second.folder == first.folder
    for name in ("units", "exemplars", "judgements"):
        pd.testing.assert_frame_equal(getattr(second, name), getattr(first, name))
    changing = ("finished_at", "wall_s", "stage_s")
    assert {k: v for k, v in second.summary.items() if k not in changing} == {
        k: v for k, v in first.summary.items() if k not in changing
    }


def test_moving_the_inputs_gives_the_same_run(world: planted.World, tmp_path: Path) -> None:
    spec = world.spec(units={"feature_ids": [0], "neuron_ids": ["0+"]})
    elsewhere = planted.make(tmp_path / "elsewhere").spec(units={"feature_ids": [0], "neuron_ids": ["0+"]})
    other = planted.make(tmp_path / "other", seed=1).spec(units={"feature_ids": [0], "neuron_ids": ["0+"]})
    with Progress(quiet=True) as progress:
        names = [preparation.prepare(s, tmp_path / "results", progress).run_id for s in (spec, elsewhere, other)]
    assert names[0] == names[1] != names[2]
