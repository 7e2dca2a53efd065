from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator, ValidationError
from support.locations import ROOT
from support.nulls import without_reason
from support.results.run_facts import RUN_FACTS
from support.results.tables import BINS, exemplar_table, judgement, judgement_table, planted, unit_table

from autointerp.errors import UsageError
from autointerp.findings.results import Giveaway
from autointerp.findings.summarise import summarise
from autointerp.findings.summary import Summary, read_summary
from autointerp.scorers import unit_metrics
from autointerp.spec import spec as specs
from autointerp.stats.estimates import MeanEstimate

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8")))
LEVELS = [{"grade": g, "text": f"level {g}"} for g in range(4)]
IDS = [f"feature-{i}" for i in range(6)] + [f"neuron-{i}-" for i in range(6)]


def make_spec(**sections: dict[str, Any]) -> specs.Spec:
    data: dict[str, Any] = {
        "subject": {"model": "tiny"},
        "dictionary": {"path": "sae"},
        "corpus": {"sources": ["a.txt"]},
        "judge": {"model": "openai/gpt-test"},
        "explainer": {"model": "anthropic/claude-test"},
        "report": {"resamples": 200},
    }
    return specs.parse({**data, **sections})


def facts(**changes: Any) -> dict[str, Any]:
    return {**RUN_FACTS, "rubric": {"name": "specificity", "version": "1", "levels": LEVELS}, "run_id": "r1", **changes}


def summary_of(
    units: pd.DataFrame,
    judgements: pd.DataFrame,
    *,
    exemplars: pd.DataFrame | None = None,
    spec: specs.Spec | None = None,
    levels: tuple[int, ...] = (0, 1, 2, 3),
    giveaways: Sequence[Giveaway] = (),
    scorers: Sequence[Mapping[str, Any]] = (),
    **changes: Any,
) -> dict[str, Any]:
    summary = summarise(
        units=units,
        judgements=judgements,
        exemplars=exemplar_table() if exemplars is None else exemplars,
        spec=spec or make_spec(),
        rubric_levels=levels,
        facts=facts(**changes),
        giveaways=giveaways,
        scorers=scorers,
    )
    result = summary.to_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert Summary.model_validate(result) == summary
    SCHEMA.validate(result)
    return result


def uniform(score: dict[str, int], *, skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """One judgement of the main arm in bin 1 and one in bin 2 for every unit except `skip`, with one grade per kind."""
    return [judgement(u, b, score[u.split("-")[0]]) for u in IDS if u not in skip for b in (1, 2)]


@pytest.fixture(scope="module")
def typical() -> dict[str, Any]:
    units, judgements = planted(unscored=0.03, seed=4)
    return summary_of(
        units, judgements, cost_usd=np.float64(1.25), calls=np.int64(7), tokens={"input": np.int64(3), "output": 1}
    )


def test_a_typical_run_has_a_headline_and_no_caveats(typical: dict[str, Any]) -> None:
    headline = typical["headline"]
    assert "withheld" not in headline
    assert headline["weighting"] == "bin_uniform"
    assert headline["difference"] == pytest.approx(headline["features_mean"] - headline["neurons_mean"])
    assert 0 < headline["ci_low"] < headline["difference"] < headline["ci_high"]
    assert (headline["n_features"], headline["n_features_scored"]) == (40, 40)
    assert headline["p_superior"] > 0.9
    assert typical["cautions"] == []


def test_fields_of_a_later_version_are_read_and_kept(typical: dict[str, Any], tmp_path: Path) -> None:
    later = typical | {"novel": [1], "headline": typical["headline"] | {"also": {"x": 1.0}}}
    SCHEMA.validate(later)
    (tmp_path / "summary.json").write_text(json.dumps(later), encoding="utf-8")
    assert read_summary(tmp_path).to_json() == later


@pytest.mark.parametrize(
    ("where", "value"),
    [(("seed",), "0"), (("headline", "difference"), "0.8"), (("controls", "main"), None), (("bins", 0, "n"), 1.5)],
)
def test_schema_and_reader_refuse_the_same_mistakes(
    typical: dict[str, Any], tmp_path: Path, where: tuple[str | int, ...], value: Any
) -> None:
    wrong = json.loads(json.dumps(typical))
    part = wrong
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    with pytest.raises(ValidationError):
        SCHEMA.validate(wrong)
    (tmp_path / "summary.json").write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{'.'.join(map(str, where))}: .* run the spec again"):
        read_summary(tmp_path)


def test_facts_enter_the_summary_unchanged(typical: dict[str, Any]) -> None:
    assert (typical["run_id"], typical["cost_usd"], typical["calls"]) == ("r1", 1.25, 7)
    assert (typical["tokens"]["input"], typical["tokens"]["output"]) == (3, 1)
    assert (typical["judge"], typical["judge_is_llm"]) == ("openai/gpt-test", True)
    assert (typical["explainer"], typical["spec_hash"]) == ("anthropic/claude-test", make_spec().hash())
    units, judgements = planted(seed=4)
    assert summary_of(units, judgements, judge="planted judge", judge_is_llm=False)["judge"] == "planted judge"


def test_counts_of_bins_arms_and_denominators_agree(typical: dict[str, Any]) -> None:
    main = typical["controls"]["main"]
    for kind in ("feature", "neuron"):
        rows = [b for b in typical["bins"] if b["kind"] == kind]
        assert len(rows) == BINS
        for column in ("n", "n_unscored"):
            assert sum(b[column] for b in rows) == main[kind][column]
        assert sum(b["events"] for b in rows) == 40 * 10 * BINS
        assert all(sum(b[f"share_{g}"] for g in range(4)) == pytest.approx(1) for b in rows)
        assert main[kind]["mean"] == typical["weightings"]["bin_uniform"][f"{kind}s_mean"]
        counts = typical["denominator"][kind]
        assert counts["sampled"] == sum(counts.values()) - counts["sampled"]
    arms = [typical["controls"][arm]["all"] for arm in ("main", "shuffled", "base_rate")]
    unscored = sum(arm["n_unscored"] for arm in arms)
    assert typical["unscored"] == {"refusal": unscored}
    assert typical["unscored_share"] == pytest.approx(unscored / (unscored + sum(arm["n"] for arm in arms)))


def test_everything_sampled_stays_in_the_denominator() -> None:
    status = ["dead", "barely_active", "alive", "alive", "alive", "alive"] + ["alive"] * 6
    units = unit_table(IDS, status=status, explanation=[None, None, "", *["rivers"] * 9])
    rows = uniform({"feature": 3, "neuron": 1}, skip=("feature-0", "feature-1", "feature-2", "feature-3"))
    rows += [judgement("feature-3", 1, None)]
    result = summary_of(units, judgement_table(rows))
    assert result["denominator"]["feature"] == {
        **{"sampled": 6, "dead": 1, "barely_active": 1, "unexplained": 1, "unscored": 1, "scored": 2}
    }
    assert (result["headline"]["n_features"], result["headline"]["n_features_scored"]) == (6, 2)
    assert result["weightings"]["bin_uniform"]["difference"] == 2.0
    assert result["difference_if_unscored_units_are_zero"] == pytest.approx(3 * 2 / 6 - 1)
    assert any("4 of 6 sampled features have no score (1 dead, 1 barely active" in c for c in result["cautions"])
    # Bounds: 3 is unscored, 2 was never asked (no explanation), the dead and barely active stay out.
    assert result["headline_bounds"] == {"low": pytest.approx(2 * 3 / 4 - 1), "high": 2.0}


def test_bounds_put_unscored_judgements_at_the_ends_of_the_rubric() -> None:
    rows = [judgement(u, 1, 2) for u in IDS] + [judgement(u, 1, None, item=1) for u in IDS]
    result = summary_of(unit_table(IDS), judgement_table(rows))
    assert result["headline_bounds"] == {"low": pytest.approx(1 - 2.5), "high": pytest.approx(2.5 - 1)}


def test_bounds_equal_the_difference_when_all_is_scored() -> None:
    units, judgements = planted(seed=3)
    result = summary_of(units, judgements)
    difference = pytest.approx(result["headline"]["difference"])
    assert result["headline_bounds"] == {"low": difference, "high": difference}


def test_bounds_that_cross_zero_give_a_caveat() -> None:
    units, judgements = planted(seed=3, unscored=0.15, feature_level=0.5)
    result = summary_of(units, judgements, spec=make_spec(report={"max_unscored_share": 0.5, "resamples": 200}))
    assert result["headline"]["ci_low"] > 0 > result["headline_bounds"]["low"]
    assert any("could undo the difference" in c for c in result["cautions"])


@pytest.mark.parametrize(
    ("rows", "explanations", "words"),
    [
        (uniform({"feature": 3, "neuron": 1}, skip=tuple(IDS[:2])), ["x"] * 12, "4 of 6 features have a score, fewer than 5"),
        (
            [judgement(u, b, 2) for u in IDS for b in (1, 2, 3)] + [judgement(u, 4, None) for u in IDS[6:]],
            ["x"] * 12,
            "25.0% of the main judgements of neurons are unscored, more than 15.0%",
        ),
        (
            [judgement(u, b, 2) for u in IDS for b in (1, 2)] + [judgement(u, 0, None, arm="base_rate") for u in IDS],
            ["x"] * 12,
            "33.3% of all judgements are unscored, more than 15.0%",
        ),
        (
            uniform({"feature": 3, "neuron": 1}, skip=(IDS[0],)),
            [None] + ["x"] * 11,
            "1 of 6 active features have no explanation, more than 15.0%",
        ),
    ],
)  # fmt: skip
def test_a_withheld_headline_gives_its_reason(rows: list, explanations: list, words: str) -> None:
    spec = make_spec(report={"max_unscored_share": 0.15, "resamples": 200})
    headline = summary_of(unit_table(IDS, explanation=explanations), judgement_table(rows), spec=spec)["headline"]
    assert headline["withheld"] == words
    assert [headline[k] for k in ("features_mean", "neurons_mean", "difference", "ci_low", "p_superior")] == [None] * 5
    assert headline["n_features"] == 6


def test_an_unscored_share_at_the_limit_is_not_withheld() -> None:
    rows = [judgement(u, b, 2 if b > 1 else None) for u in IDS for b in range(1, 11)]
    assert "withheld" not in summary_of(unit_table(IDS), judgement_table(rows))["headline"]


def test_without_neurons_the_features_are_still_described() -> None:
    units, judgements = planted(n_neurons=0)
    result = summary_of(units, judgements)
    headline = result["headline"]
    assert "withheld" not in headline
    assert headline["why"] == "no neurons were sampled, so the features are not compared"
    assert [headline[name] for name in ("difference", "ci_low", "ci_high", "p_superior")] == [None] * 4
    assert headline["features_mean"] > 2
    assert list(without_reason({"headline": headline})) == []
    assert result["weightings"]["bin_uniform"]["features_mean"] > 2
    assert (result["headline_bounds"]["low"], result["headline_bounds"]["high"]) == (None, None)
    assert {b["kind"] for b in result["bins"]} == {"feature"}
    assert result["controls"]["main"]["neuron"]["mean"] is None
    assert result["cautions"] == []


def test_features_alone_are_withheld_for_their_own_missing_grades() -> None:
    rows = [judgement(u, b, 2 if u != "feature-1" else None) for u in IDS[:6] for b in range(1, 11)]
    result = summary_of(unit_table(IDS[:6]), judgement_table(rows))
    assert "judgements of features are unscored" in result["headline"]["withheld"]
    assert "neuron" not in result["headline"]["withheld"]


def test_a_run_without_any_judgement_has_a_summary() -> None:
    units = unit_table(IDS, status=["dead"] * 12, density=[0.0] * 12, explanation=[None] * 12, bin_events=[None] * 12)
    result = summary_of(units, judgement_table([]), exemplars=exemplar_table().iloc[:0])
    assert "0 of 6 features have a score" in result["headline"]["withheld"]
    assert (result["unscored_share"], result["unscored"]) == (0.0, {})
    assert {result["density"][name] for name in ("feature", "neuron", "ratio")} == {None}
    assert list(without_reason(result)) == []


def test_constant_grades_give_a_difference_without_an_interval_and_a_caveat() -> None:
    result = summary_of(unit_table(IDS), judgement_table(uniform({"feature": 3, "neuron": 0})))
    assert (result["headline"]["difference"], result["headline"]["ci_low"]) == (3.0, None)
    assert any("has no interval" in c for c in result["cautions"])


def test_the_summary_uses_the_grades_of_any_rubric() -> None:
    rows = [judgement(u, b, 4 if u.startswith("feature") else 2) for u in IDS for b in (1, 2)]
    levels = [{"grade": g, "text": ""} for g in (1, 2, 3, 4, 5)]
    rubric = {"name": "five", "version": "1", "levels": levels}
    result = summary_of(
        unit_table([*IDS, "feature-9"], explanation=["x"] * 12 + [None], status=["alive"] * 12 + ["dead"]),
        judgement_table(rows),
        levels=(1, 2, 3, 4, 5),
        rubric=rubric,
    )
    assert {k for k in result["bins"][0] if k.startswith("share")} == {f"share_{g}" for g in range(1, 6)}
    assert result["difference_if_unscored_units_are_zero"] == pytest.approx((6 * 4 + 1) / 7 - 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra": 1}, "unknown \\['extra'\\]"),
        ({"headline": {}}, "unknown \\['headline'\\]"),
        ({"rubric": {"levels": LEVELS[:3]}}, "rubric describes grades \\[0, 1, 2\\]"),
    ],
)
def test_contradicting_facts_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        summary_of(unit_table(IDS), judgement_table([]), **changes)


def test_contradicting_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="not sampled, such as feature-99"):
        summary_of(unit_table(IDS), judgement_table([judgement("feature-99", 1, 3)]))
    with pytest.raises(ValueError, match="grades \\[4\\] that the rubric lacks"):
        summary_of(unit_table(IDS), judgement_table([judgement("feature-0", 1, 4)]))


def test_a_judge_that_ignores_explanations_gives_caveats() -> None:
    units, judgements = planted(seed=6)
    fine = summary_of(units, judgements)["controls"]["main_minus_shuffled"]
    assert fine["ci_low"] > 1
    assert fine["n_units"] == 80
    # A judge that does not read the explanation grades the shuffled arm like the main one.
    blind = judgements.assign(arm=judgements["arm"].replace({"base_rate": "unused"}))
    copies = blind.loc[blind["arm"] == "main"].assign(arm="shuffled")
    blind = pd.concat([blind.loc[blind["arm"] == "main"], copies], ignore_index=True)
    result = summary_of(units, blind)
    assert result["controls"]["main_minus_shuffled"]["difference"] == 0
    assert any("cannot tell a unit's own explanation" in c for c in result["cautions"])
    assert any("No silent window was judged" in c for c in result["cautions"])


@pytest.mark.parametrize(
    ("grade", "words"), [(1, "The base rate is high"), (3, "graded no higher where the unit is active")]
)
def test_a_high_base_rate_gives_a_caveat(grade: int, words: str) -> None:
    units, judgements = planted(seed=6)
    judgements.loc[judgements["arm"] == "base_rate", "score"] = grade
    assert any(words in c for c in summary_of(units, judgements)["cautions"])


@pytest.mark.parametrize(("tokens", "embeddings", "cautioned"), [(50_257, 128_256, True), (151_665, 152_064, False)])
def test_a_tokenizer_of_far_fewer_tokens_than_embeddings_gives_a_caveat(
    tokens: int, embeddings: int, cautioned: bool
) -> None:
    units, judgements = planted(seed=4)
    subject = {"name": "m", "fingerprint": "0", "precision": "float32", "n_tokens": tokens, "n_embeddings": embeddings}
    cautions = summary_of(units, judgements, subject=subject)["cautions"]
    assert any("it may be another model's" in caution for caution in cautions) is cautioned


def test_an_embedded_judge_and_a_shared_model_give_caveats() -> None:
    units, judgements = planted(seed=6)
    same = make_spec(judge={"model": "embedded"}, explainer={"model": "embedded"})
    embedded = summary_of(units, judgements, spec=same)["cautions"]
    assert any("(embedded) is not a language model" in c for c in embedded)
    assert any("same model (embedded) explains and judges" in c for c in embedded)


@pytest.mark.parametrize(("n_features", "n_neurons", "warned"), [(40, 40, False), (40, 6, True), (8, 8, True)])
def test_a_difference_that_few_units_decide_gives_a_caveat(n_features: int, n_neurons: int, warned: bool) -> None:
    units, judgements = planted(seed=6, n_neurons=n_neurons, n_features=n_features)
    few = [c for c in summary_of(units, judgements)["cautions"] if "rests on few units" in c]
    assert bool(few) == warned
    assert not warned or f"{n_features} features and {n_neurons} neurons" in few[0]


def test_many_units_of_which_few_have_a_grade_above_0_are_few() -> None:
    units, judgements = planted(seed=6, feature_level=0.0, neuron_level=0.0)
    judgements["score"] = (judgements["score"] * 0).where(~judgements["unit_id"].isin(["feature-1", "neuron-3+"]), 3)
    result = summary_of(units, judgements)
    assert result["weightings"]["bin_uniform"]["freedom"] < 6
    assert any("rests on few units" in c for c in result["cautions"])


def test_bins_that_one_kind_lacks_are_left_out_of_the_headline_and_named() -> None:
    units, judgements = planted(seed=6)
    lacking = (judgements["kind"] == "feature") & judgements["bin"].isin([4, 5]) & (judgements["arm"] == "main")
    result = summary_of(units, judgements.loc[~lacking])
    assert result["headline"]["bins_left_out"] == [4, 5]
    assert [b["bin"] for b in result["weightings"]["bins"] if not b["compared"]] == [4, 5]
    assert [b["n_neurons"] for b in result["weightings"]["bins"]] == [40] * BINS
    assert (
        "The headline compares 8 of 10 bins: in bins 4, 5 too few features or neurons have a grade."
        in result["cautions"]
    )


def test_a_headline_without_a_common_bin_is_withheld() -> None:
    units, judgements = planted(seed=6)
    weak = judgements["bin"] <= 5
    shared = (judgements["arm"] != "main") | (weak == (judgements["kind"] == "feature"))
    withheld = summary_of(units, judgements.loc[shared])["headline"]["withheld"]
    assert withheld == "no activation bin has a grade in enough features and neurons"


def test_readings_that_contradict_each_other_give_a_caveat() -> None:
    units, judgements = planted(seed=6, feature_level=0.5, neuron_level=0.5)
    rng, main = np.random.default_rng(0), judgements["arm"] == "main"
    weak, feature = judgements["bin"] == 1, judgements["kind"] == "feature"
    grade = np.where(feature == weak, 0, 2) + rng.integers(0, 2, len(judgements))
    judgements["score"] = judgements["score"].where(~main, pd.Series(grade, index=judgements.index))
    units["bin_events"] = [[1000] + [10] * (BINS - 1)] * len(units)
    [found] = [c for c in summary_of(units, judgements)["cautions"] if "contradict each other" in c]
    assert "with all bins equal" in found.split(", but ")[0]
    assert found.split(", but ")[1].count("with bins weighted by their events") == 1


def test_every_missing_interval_has_its_reason() -> None:
    rows = [judgement(u, b, 2) for u in IDS for b in (1, 2)]
    result = summary_of(unit_table(IDS), judgement_table(rows))
    figures = [result["headline"], *result["bins"], result["controls"]["main"]["all"], *result["weightings"]["bins"]]
    assert all(f["ci_low"] is None and f["why"] for f in figures)
    assert any("no interval: all 6 units of one kind have the same value" in f["why"] for f in figures)


@pytest.mark.parametrize(
    ("density", "said"), [(0.03, "3 times more often"), (0.001, "10 times less often"), (0.015, None)]
)
def test_mismatched_densities_give_a_caveat(density: float, said: str | None) -> None:
    units, judgements = planted(seed=6)
    units["density"] = np.where(units["kind"] == "feature", density, 0.01)
    found = [c for c in summary_of(units, judgements)["cautions"] if "density" in c]
    assert [said in c for c in found if said] == [True] * (said is not None)
    assert bool(found) == (said is not None)


@pytest.mark.parametrize(("active", "warned"), [(1, False), (2, True)])
def test_silent_windows_with_activity_give_a_caveat(active: int, warned: bool) -> None:
    units, judgements = planted(seed=6)
    exemplars = exemplar_table([[0.0, 0.5]] * active + [[0.0, 0.0]] * (10 - active))
    found = [c for c in summary_of(units, judgements, exemplars=exemplars)["cautions"] if "silent windows" in c]
    assert bool(found) == warned
    assert not warned or found[0].startswith("In 20% of the silent windows")


def test_a_harvest_of_an_earlier_version_gives_a_caveat() -> None:
    units, judgements = planted(seed=6)
    for exemplars, old in ((exemplar_table(), False), (exemplar_table().drop(columns="counted"), True)):
        found = [c for c in summary_of(units, judgements, exemplars=exemplars)["cautions"] if "are not counted" in c]
        assert bool(found) == old


@pytest.mark.parametrize(
    ("mean", "low", "n", "warned"),
    [
        (0.8, 0.7, 20, True),
        (1.0, None, 20, True),
        (0.56, 0.49, 20, False),
        (0.53, 0.51, 90, False),
        (0.9, None, 2, False),
    ],
)
def test_items_told_apart_without_reading_give_a_caveat(mean: float, low: float | None, n: int, warned: bool) -> None:
    units, judgements = planted(seed=6)
    measured: dict[str, Any] = {"mean": mean, "ci_low": low, "ci_high": None if low is None else 0.95, "n": n}
    giveaways = [Giveaway(comparison="fuzzing", balanced_accuracy=MeanEstimate(**measured))]
    found = [c for c in summary_of(units, judgements, giveaways=giveaways)["cautions"] if "nothing else" in c]
    assert bool(found) == warned
    assert not warned or found[0].startswith("In fuzzing, the length of a text and the place of its mark alone tell")


@pytest.mark.parametrize(("covered", "warned"), [(3, True), (4, False), (40, False)])
def test_a_figure_over_less_than_a_tenth_of_a_kind_gives_a_caveat(covered: int, warned: bool) -> None:
    units, judgements = planted(seed=6)
    rows = [("detection", u, k, "balanced_accuracy", 0.8) for u, k in zip(units["unit_id"], units["kind"], strict=True)]
    figures = pd.DataFrame(rows, columns=["scorer", "unit_id", "kind", "figure", "value"]).assign(
        n=10, n_unscored=0, why=None
    )
    neurons = figures.index[figures["kind"] == "neuron"]
    figures.loc[neurons[covered:], ["value", "why"]] = [np.nan, "no silent window"]
    result = unit_metrics.UnitFigures(figures, {}, pd.DataFrame())
    scorers = unit_metrics.summarise(result, {"confidence": 0.95, "resamples": 200, "seed": 0})
    found = [c for c in summary_of(units, judgements, scorers=scorers)["cautions"] if c.startswith("Detection covers")]
    assert bool(found) == warned
    assert not warned or "only 3 of 40 neurons" in found[0]


def test_summary_is_the_same_whatever_the_order_of_rows() -> None:
    units, judgements = planted(seed=8, n_features=8, n_neurons=8, unscored=0.1)
    again = judgements.sample(frac=1, random_state=0, ignore_index=True)
    assert summary_of(units, judgements) == summary_of(units.iloc[::-1].reset_index(drop=True), again)


def test_tables_read_back_from_parquet_give_the_same_summary(tmp_path) -> None:
    units, judgements = planted(seed=8, n_features=8, n_neurons=8, unscored=0.1)
    exemplars = exemplar_table([[0.0, 0.5]])
    tables = {"units": units, "judgements": judgements, "exemplars": exemplars}
    for name, table in tables.items():
        table.to_parquet(tmp_path / name)
    read = {name: pd.read_parquet(tmp_path / name) for name in tables}
    expected = summary_of(units, judgements, exemplars=exemplars)
    assert summary_of(read["units"], read["judgements"], exemplars=read["exemplars"]) == expected
