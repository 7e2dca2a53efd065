"""Studies of a dictionary against planted facts, or computed from all activations at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.planted_world import layered
from support.planted_world import world as planted
from support.planted_world.truth import carry
from support.results import tables as result_tables

from autointerp.harvest import dictionary_checks, finished, merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.harvest.makers import dictionary_checks as makers
from autointerp.json_values import plain
from autointerp.progress import quiet
from autointerp.stats import comparison, rounding
from sae.analysis import correlation
from sae.analysis.correlation import Correlations
from sae.analysis.dictionary_studies import SHARES, study
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = 60_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("studies") / "world", idle=True)


@pytest.fixture(scope="module")
def inputs(world: planted.World) -> Inputs:
    return open_inputs(world.spec(), quiet)


def studied(inputs: Inputs, dictionary: Dictionary | None = None, tokens: int = ALL, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"features": range(inputs.dictionary.d_sae), "seed": 0, "skip_positions": 1}
    given |= {"norm_limit": 1e9} | changes
    figures: dict[str, Any] = plain(
        study(inputs.subject, dictionary or inputs.dictionary, inputs.corpus, tokens=tokens, **given)
    )
    return figures


@pytest.fixture(scope="module")
def found(inputs: Inputs) -> dict[str, Any]:
    return studied(inputs)


@pytest.fixture(scope="module")
def values(inputs: Inputs) -> dict[str, torch.Tensor]:
    return {name: layered.values(inputs.subject, inputs.corpus, name) for name in ("resid_post.0", "mlp_act.0")}


# Density


def test_features_of_absent_words_are_dead_and_others_have_their_words_density(
    world: planted.World, inputs: Inputs, values: dict[str, torch.Tensor], found: dict[str, Any]
) -> None:
    f = inputs.dictionary.encode(values["resid_post.0"])
    density = found["density"]
    assert found["tokens"] == len(f)
    assert density["features"] == len(world.features)
    assert density["dead"] == sum(world.kind(f"feature-{i}") == "absent" for i in range(len(world.features))) == 1
    alive = (f > 0).double().mean(dim=0)
    assert density["median"] == pytest.approx(float(alive[alive > 0].median()), abs=1e-3)
    assert sum(density["counts"]) == len(world.features) - 1
    logs = alive[alive > 0].log10().numpy()
    assert density["counts"] == np.histogram(logs, bins=density["log10_edges"])[0].tolist()
    l0 = (f > 0).sum(dim=1).double()
    assert found["l0"]["mean"] == pytest.approx(float(l0.mean()))
    assert sum(found["l0"]["shares"]) == pytest.approx(1)
    assert found["l0"]["shares"][0] == pytest.approx(float((l0 == 0).double().mean()))


def test_a_sample_has_about_the_requested_tokens_and_depends_on_the_seed_alone(inputs: Inputs) -> None:
    few = studied(inputs, tokens=2000)
    assert 2000 <= few["tokens"] < 2200
    assert studied(inputs, tokens=2000) == few
    assert studied(inputs, tokens=2000, seed=1) != few


# Correlation


def test_a_feature_s_best_neuron_answers_to_the_same_concept(world: planted.World, found: dict[str, Any]) -> None:
    rows = {row["feature"]: row for row in found["correlation"]["best"]}
    same = {answers: i for i, answers in enumerate(world.neurons) if len(answers) == 1}
    pure = [i for i, answers in enumerate(world.features) if answers in same]
    assert len(pure) == 4
    for feature in pure:
        assert rows[feature]["neuron"] == f"mlp_act.0:{same[world.features[feature]]}"
        assert rows[feature]["r"] > 0.99
    assert found["correlation"]["silent"] == 1
    assert found["correlation"]["layers"] == ["mlp_act.0"]


def test_streamed_correlations_equal_those_of_all_activations_at_once(
    inputs: Inputs, values: dict[str, torch.Tensor], found: dict[str, Any]
) -> None:
    f = inputs.dictionary.encode(values["resid_post.0"]).double().numpy()
    m = values["mlp_act.0"].double().numpy()
    with np.errstate(invalid="ignore"):
        r = np.corrcoef(f.T, m.T)[: f.shape[1], f.shape[1] :]
    alive = ~np.isnan(r).all(axis=1)
    rows = found["correlation"]["best"]
    np.testing.assert_allclose([row["r"] for row in np.array(rows)[alive]], r[alive].max(axis=1), atol=1e-4)
    absolute = [abs(row["r_absolute"]) for row in np.array(rows)[alive]]
    np.testing.assert_allclose(absolute, np.abs(r[alive]).max(axis=1), atol=1e-4)
    for name, best in (("signed", r[alive].max(axis=1)), ("absolute", np.abs(r[alive]).max(axis=1))):
        assert found["correlation"][name]["share"] == pytest.approx((best <= 0.3).mean())
        assert sum(found["correlation"][name]["counts"]) == alive.sum()


@given(st.integers(0, 99), st.lists(st.integers(1, 30), min_size=1, max_size=4), st.floats(-1e3, 1e3))
def test_streamed_sums_equal_pearson_for_any_batches_and_means(seed: int, sizes: list[int], mean: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = sum(sizes) + 3
    features, neurons = torch.randn(n, 3, generator=generator), torch.randn(n, 5, generator=generator) + mean
    neurons[:, 0] = mean  # a neuron that never changes is like none
    sums = Correlations()
    for start, stop in zip(np.cumsum([0, 3, *sizes]), np.cumsum([3, *sizes]), strict=False):
        sums.update(features[start:stop], {"a": neurons[start:stop, :2], "b": neurons[start:stop, 2:]})
    r = np.corrcoef(features.T.double(), neurons[:, 1:].T.double())[:3, 3:]
    signed, absolute = sums.best()
    index = [1, 0, 1, 2]
    layer = [0, 1, 1, 1]
    best = np.abs(r).argmax(axis=1)
    np.testing.assert_allclose(absolute.r, r[range(3), best], atol=1e-3)
    assert absolute.neuron.tolist() == [index[i] for i in best]
    assert absolute.layer.tolist() == [layer[i] for i in best]
    np.testing.assert_allclose(signed.r, np.maximum(r.max(axis=1), 0.0), atol=1e-3)


def test_only_as_many_features_as_fit_are_correlated(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "ELEMENTS", 5 * 16)
    found = studied(inputs, tokens=2000)["correlation"]
    assert len(found["best"]) == 5
    assert found["asked"] == inputs.dictionary.d_sae


def test_without_neurons_the_reason_is_given(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    early = replace(inputs.dictionary, hook_point="resid_pre.0")
    assert studied(inputs, early, tokens=2000)["correlation"] == {"skipped": "no MLP runs before resid_pre.0"}

    def refuse(self: Subject, hook_point: str) -> int:
        raise SubjectError(f"{hook_point}: a mixture of experts")

    monkeypatch.setattr(Subject, "width", refuse)
    assert studied(inputs, tokens=2000)["correlation"] == {"skipped": "mlp_act.0: a mixture of experts"}


# Rounding


def test_rounding_explains_the_variance_of_the_remaining_activations(
    inputs: Inputs, values: dict[str, torch.Tensor], found: dict[str, Any]
) -> None:
    maximum = inputs.dictionary.encode(values["resid_post.0"]).amax(dim=0)
    assert found["rounding"]["tokens"] == 8192
    first = planted_rows(inputs, 8192)
    f_first = inputs.dictionary.encode(first)
    spread = float((first - first.mean(dim=0)).double().square().sum())
    for share, explained in zip(SHARES, found["rounding"]["variance_explained"], strict=True):
        kept = torch.where(f_first > share * maximum, f_first, 0.0)
        error = float((first - inputs.dictionary.decode(kept)).double().square().sum())
        assert explained == pytest.approx(1 - error / spread, rel=1e-4)


def planted_rows(inputs: Inputs, n: int) -> torch.Tensor:
    """The values that the studies meet first."""
    from sae.analysis.token_sample import draw

    parts = [
        inputs.subject.run(batch.tokens, ["resid_post.0"])["resid_post.0"][batch.text]
        for batch in draw(inputs.corpus, ALL, 0, 1).batches(4096, "cpu")
    ]
    return torch.cat(parts)[:n]


def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Three features and a neuron: grade 3 above half of the maximum, 1 below, ten judgements of evenly spread activations."""
    ids = ["feature-0", "feature-1", "feature-2", "neuron-0+"]
    rows, exemplars = [], []
    for unit in ids:
        for bin_ in range(1, 11):
            for part in (0.25, 0.75):
                row = result_tables.judgement(unit, bin_, 3 if bin_ > 5 else 1, item=int(100 * part))
                rows.append(row)
                exemplars.append(
                    {"exemplar_id": row["exemplar_id"], "unit_id": unit, "activation_fraction": (bin_ - 1 + part) / 10}
                )
    units = result_tables.unit_table(ids, bin_events=[[2**i for i in range(10, 0, -1)]] * 4)
    units["histogram"] = [[2**i // 2 for i in range(10, 0, -1) for _ in range(2)]] * 4
    return units, result_tables.judgement_table(rows), pd.DataFrame(exemplars).assign(inclusion_probability=0.5)


def test_the_mean_grade_without_weak_activations_is_that_of_the_rest() -> None:
    units, judgements, exemplars = tables()
    found = rounding.specificity(
        judgements, exemplars, units, SHARES, bins=10, scale=(0, 3), confidence=0.95, resamples=200, seed=0
    )
    events = np.array([2**i for i in range(10, 0, -1)], dtype=float)
    grades = np.array([1.0] * 5 + [3.0] * 5)
    for row in found:
        share = row["share"]
        left = events.copy()
        left[: int(share * 10)] = 0
        left[0] *= 0.5 if share == 0.05 else 1
        assert row["mean"] == pytest.approx((left * grades).sum() / left.sum()), share
        assert row["n_units"] == 3
    frequency = comparison.unit_scores(judgements, units)["mean_score_frequency"]
    assert found[0]["mean"] == pytest.approx(frequency["feature-0"])


def test_units_without_a_grade_above_the_share_are_left_out() -> None:
    units, judgements, exemplars = tables()
    weak = judgements.loc[(judgements["unit_id"] != "feature-1") | (judgements["bin"] <= 3)]
    found = rounding.specificity(
        weak, exemplars, units, [0.0, 0.5], bins=10, scale=(0, 3), confidence=0.95, resamples=200, seed=0
    )
    assert [row["n_units"] for row in found] == [3, 2]
    assert found[1]["mean"] == 3


# Beside the harvest


def test_studies_are_stored_beside_the_harvest_and_other_sizes_do_not_redo_it(
    world: planted.World, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(tmp_path)
    few = replace(inputs, spec=world.spec(studies={"tokens": 2000}))
    folder = merge.harvest(few, artifacts, quiet)
    first = dictionary_checks.read(folder, few.spec)
    assert first is not None
    assert first["tokens"] < 2200
    monkeypatch.setattr(merge, "harvest_shard", lambda *_, **__: pytest.fail("harvested again"))
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    more = replace(inputs, spec=world.spec(studies={"tokens": 4000}))
    assert not finished.is_complete(more.spec, artifacts, shards.begin_harvest(more, artifacts))
    assert merge.harvest(more, artifacts, quiet) == folder
    assert finished.is_complete(more.spec, artifacts, shards.begin_harvest(more, artifacts))
    assert dictionary_checks.read(folder, few.spec) == first
    second = dictionary_checks.read(folder, more.spec)
    assert second is not None
    assert second["tokens"] > 4000
    monkeypatch.setattr(makers, "make", lambda *_: pytest.fail("studied again"))
    merge.harvest(few, artifacts, quiet)
    assert {name: folder.joinpath(name).stat().st_mtime_ns for name in stamps} == stamps


def test_no_studies_are_made_if_none_are_requested(world: planted.World, inputs: Inputs, tmp_path: Path) -> None:
    without = replace(inputs, spec=world.spec(studies={"tokens": 0}))
    folder = merge.harvest(without, Artifacts(tmp_path), quiet)
    assert dictionary_checks.read(folder, without.spec) is None
    assert list(folder.glob("studies*")) == []


def test_a_run_has_both_in_its_summary_and_its_report(world: planted.World, tmp_path: Path) -> None:
    run = carry(world.spec(studies={"tokens": 4000}), tmp_path)
    summary = json.loads((run.folder / "summary.json").read_text())
    # No feature writes the constant that all words share, and the head predicts nothing: doubtful, but not refused.
    assert summary["check"]["verdict"] == "doubtful"
    assert summary["check"]["loss_recovered"] is None
    assert summary["check"]["tokens"] > 8000
    rounded = summary["studies"]["rounding"]
    assert [row["share"] for row in rounded["specificity"]] == rounded["shares"] == list(SHARES)
    # Strong words are the concept and weak ones only related: without the weak ones, grades are higher.
    assert rounded["specificity"][6]["mean"] > rounded["specificity"][0]["mean"] + 0.3
    for name in ("report.html", "report.md"):
        text = (run.folder / name).read_text("utf-8")
        assert "Studies of the dictionary" in text
        assert "Dictionary" in text
