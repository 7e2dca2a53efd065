"""Random-weight controls: read, explained and judged like other units, and kept out of all figures but their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.planted_world import truth
from support.planted_world import world as planted

import sae.harvest.harvest
from autointerp import records
from autointerp.costs import bounds
from autointerp.harvest import control_units, finished, merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.makers import random_units
from autointerp.progress import quiet
from autointerp.questions import planned_jobs
from autointerp.records import DIRECTION_KINDS, Arm, Exemplar, Unit
from autointerp.spec.spec import Spec, parse
from sae.controls import random_weights
from sae.controls.random_weights import random_dictionary, random_subject, rescaled
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.subject.model import Subject, load_subject

BOTH = {"random_dictionary": True, "random_subject": True}
CONCEPTS = len(planted.CONCEPTS)
"""The first features of the world answer to a concept each."""
COUNTED = ("headline", "headline_bounds", "weightings", "denominator", "density", "bins", "controls", "unscored")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("planted") / "world", documents=100)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def judged(world: planted.World, results: Path) -> truth.Result:
    """A run with both kinds."""
    return truth.carry(spec_of(world, **BOTH), results)


def spec_of(world: planted.World, **controls: bool | str) -> Spec:
    explain = {"min_exemplars": 4}
    return world.spec(units={"feature_ids": list(range(CONCEPTS))}, explain=explain, controls=controls)


def dictionary_of(activation: Any, seed: int, **given: Any) -> Dictionary:
    """Twelve features of six dimensions that fire at very different shares of normal data."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(12, 6, generator=generator)
    limits = torch.linspace(-1.5, 4.0, 12) * rows.norm(dim=1)
    floor = {"threshold": limits.clamp_min(0)} if activation == "jumprelu" else {}
    return Dictionary(
        W_enc=rows, b_enc=-limits if activation == "relu" else torch.zeros(12), W_dec=rows, b_dec=torch.zeros(6),
        activation=activation, hook_point="resid_post.0", **floor, **given,
    )  # fmt: skip


def data(seed: int, n: int = 500) -> torch.Tensor:
    """Tokens with a large common component, as residual streams have one."""
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)) + torch.tensor([8.0, 0, 0, 0, 0, -3.0])


def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A list that gains, with every pass over text, the kinds of the units that are read in it."""
    read, reading = list[list[str]](), sae.harvest.harvest.read_shard

    def counted(readings: Any, *rest: Any) -> None:
        read.append([each.plan.units[0].kind for each in readings])
        reading(readings, *rest)

    monkeypatch.setattr(sae.harvest.harvest, "read_shard", counted)
    return read


# The random dictionary


@settings(max_examples=15)
@given(
    st.integers(0, 2**31), st.sampled_from(["relu", "jumprelu"]), st.sampled_from(["none", "layer_norm", "per_token"])
)
def test_a_random_feature_is_active_as_often_as_its_counterpart(seed: int, activation: str, norm: str) -> None:
    trained, x = dictionary_of(activation, seed, input_norm=norm), data(seed)
    features = [7, 0, 11, 3]
    drawn = random_dictionary(trained, x, features, seed)
    expected = (trained.encode(x, torch.tensor(features)) > 0).sum(dim=0).clamp(1, len(x) - 1)
    # Neighbours that are all but equal stay together.
    torch.testing.assert_close((drawn.encode(x) > 0).sum(dim=0), expected, atol=3, rtol=0)
    assert (drawn.activation, drawn.input_norm, drawn.d_sae) == (activation, norm, 4)
    torch.testing.assert_close(drawn.W_enc.norm(dim=1), torch.ones(4))
    assert drawn.W_enc is drawn.W_dec


def test_a_row_depends_on_the_seed_and_its_number_alone() -> None:
    trained, x = dictionary_of("relu", 0), data(0)
    some, all_ = random_dictionary(trained, x, [5, 2], 3), random_dictionary(trained, x, range(12), 3)
    for name in ("W_enc", "b_enc"):
        torch.testing.assert_close(getattr(some, name), getattr(all_, name)[[5, 2]])
    other = random_dictionary(trained, x, [5, 2], 4)
    assert float((other.W_enc * some.W_enc).sum(dim=1).abs().max()) < 0.99


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
def test_competing_features_are_drawn_with_all_others(activation: str) -> None:
    trained, x = dictionary_of(activation, 1, k=3), data(1)
    drawn = random_dictionary(trained, x, [9, 4], 0)
    assert drawn.d_sae == 12
    fires = drawn.encode(x) > 0
    assert 2.5 < float(fires.sum(dim=1).float().mean()) <= 3
    assert float(fires.float().mean(dim=0).max()) < 0.75, "without a centre the same few would always win"
    other = random_dictionary(trained, x, [4, 9], 0)
    torch.testing.assert_close(other.W_enc[:2], drawn.W_enc[:2].flip(0))


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.integers(2, 9))
def test_equal_tokens_have_equal_activity(seed: int, copies: int) -> None:
    trained, x = dictionary_of("relu", seed), data(seed, 40).repeat(copies, 1)
    fires = random_dictionary(trained, x, range(12), seed).encode(x + 1e-6 * torch.randn(x.shape)) > 0
    apart = fires.view(copies, 40, 12)
    assert bool((apart == apart[:1]).all())


# The random subject


def test_a_random_subject_differs_in_its_weights_only(world: planted.World) -> None:
    subject = load_subject(str(world.subject), precision="float32", device="cpu")
    tokens = torch.arange(300, 340)[None]
    before = torch.get_rng_state()
    first, again, other = (random_subject(subject, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()), "nobody else's draws are disturbed"
    hook = "resid_post.0"
    values = [s.run(tokens, [hook])[hook] for s in (subject, first, again, other)]
    assert torch.equal(values[1], values[2])
    assert not torch.allclose(values[1], values[3])
    assert not torch.allclose(values[0], values[1])
    assert first.fingerprint == again.fingerprint
    assert len({subject.fingerprint, first.fingerprint, other.fingerprint}) == 3
    for name in ("tokenizer", "bos_id", "special_ids", "precision", "device", "n_layers", "d_model"):
        assert getattr(first, name) == getattr(subject, name)
    assert first.model.config.to_dict() == subject.model.config.to_dict()


def test_a_random_subject_is_made_of_a_gguf_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.sae.tiny_models import TOKENS, write_gguf

    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "tiny.gguf")
    subject = load_subject(str(tmp_path / "tiny.gguf"), device="cpu", precision="bfloat16")
    drawn = random_subject(subject, 7)
    assert (drawn.precision, drawn.bos_id) == ("bfloat16", subject.bos_id)
    hook = "resid_post.1"
    found, expected = (s.run(TOKENS, [hook])[hook] for s in (drawn, subject))
    assert found.shape == expected.shape
    assert not torch.allclose(found, expected)


def test_values_are_scaled_to_the_norm_that_the_dictionary_was_trained_on() -> None:
    x, small = data(0), 0.01 * data(1)
    factor = float((x.square().sum(dim=1).mean() / small.square().sum(dim=1).mean()).sqrt())
    plain = dictionary_of("relu", 0)
    torch.testing.assert_close(rescaled(plain, small, x).encode(small), plain.encode(factor * small))
    scaled = dictionary_of("relu", 0, input_norm="scale", input_scale=0.3)
    torch.testing.assert_close(rescaled(scaled, small, x).encode(small), scaled.encode(factor * small))
    own = dictionary_of("relu", 0, input_norm="per_token")
    assert rescaled(own, small, x) is own


# Beside the harvest


def test_after_a_stop_finished_controls_are_kept_and_not_read_again(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, read = Artifacts(tmp_path), passes(monkeypatch)

    def stops(phase: str, _done: int, _total: int) -> None:
        if phase == "reading random subject":
            raise KeyboardInterrupt

    inputs = open_inputs(spec_of(world, **BOTH), quiet)
    with pytest.raises(KeyboardInterrupt):
        merge.harvest(inputs, artifacts, stops)
    assert read == [["feature", "random_dictionary"], ["random_subject"]]
    made = shards.begin_harvest(inputs, artifacts)
    assert not finished.is_complete(inputs.spec, artifacts, made)
    read.clear()
    folder = merge.harvest(inputs, artifacts, quiet)
    assert read == [["random_subject"]]
    assert finished.is_complete(inputs.spec, artifacts, made)
    read.clear()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert merge.harvest(inputs, artifacts, quiet) == folder
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not read
    one = open_inputs(spec_of(world, random_subject=True), quiet)
    assert finished.is_complete(one.spec, artifacts, made), "each kind stands by itself"
    assert not control_units.names_by_kind(spec_of(world))


def test_controls_are_the_same_in_the_pass_of_the_harvest_and_in_one_of_their_own(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(world, random_dictionary=True, random_directions=True, basis_directions=True)
    inputs = open_inputs(spec, quiet)
    together, read = Artifacts(tmp_path / "together"), passes(monkeypatch)
    folder = merge.harvest(inputs, together, quiet)
    assert [set(kinds) for kinds in read] == [{"feature", "random_dictionary", *DIRECTION_KINDS}]
    read.clear()
    monkeypatch.setattr(random_units, "begin_along", lambda *_: [])
    alone = merge.harvest(inputs, Artifacts(tmp_path / "alone"), quiet)
    assert len(read) == 4
    for names in control_units.names_by_kind(spec).values():
        for name in names:
            pd.testing.assert_frame_equal(pd.read_parquet(folder / name), pd.read_parquet(alone / name))


def test_the_same_seed_makes_the_same_units(world: planted.World, judged: truth.Result, tmp_path: Path) -> None:
    def controls(units: pd.DataFrame) -> pd.DataFrame:
        rows = units.loc[units["kind"].isin(records.RANDOM_KINDS), ["unit_id", "max_activation", "n_events", "status"]]
        return rows.reset_index(drop=True)

    folder = merge.harvest(open_inputs(spec_of(world, **BOTH), quiet), Artifacts(tmp_path), quiet)
    names = control_units.names_by_kind(spec_of(world, **BOTH)).values()
    again = pd.concat([pd.read_parquet(folder / units) for units, _ in names])
    pd.testing.assert_frame_equal(controls(again), controls(judged.units), rtol=1e-4)


def test_random_features_have_the_density_of_the_sampled_features(judged: truth.Result) -> None:
    units = judged.units.set_index("unit_id")
    for kind in records.RANDOM_KINDS:
        mine = units.loc[units["kind"] == kind]
        assert list(mine.index) == [f"{kind}-{i}" for i in range(CONCEPTS)]
        assert set(mine["hook_point"]) == {"resid_post.0"}
    density = units["density"].astype("float64")
    trained, drawn = (
        density[[f"{kind}-{i}" for i in range(CONCEPTS)]].to_numpy() for kind in ("feature", "random_dictionary")
    )
    # In this world whole words fire or do not, and a filler word is one token in 68.
    np.testing.assert_allclose(drawn, trained, atol=0.008)
    assert drawn.mean() == pytest.approx(trained.mean(), rel=0.15)
    exemplars = judged.exemplars.set_index("unit_id")
    for kind in records.RANDOM_KINDS:
        shown = exemplars.loc[f"{kind}-0"]
        assert {"score", "quiet", "explain_top", "explain_quiet"} <= set(shown["role"])
        explaining = shown["role"].str.startswith("explain")
        judging = shown["role"].isin(["score", "quiet"])
        assert not set(shown.loc[explaining, "document"]) & set(shown.loc[judging, "document"])


def test_activations_of_the_random_subject_equal_those_it_computes(world: planted.World, judged: truth.Result) -> None:
    """A few windows, computed anew from the whole context."""
    inputs = open_inputs(spec_of(world, **BOTH), quiet)
    drawn: Subject = random_subject(inputs.subject, inputs.spec.units.seed)
    contexts = inputs.corpus.contexts
    shown = judged.exemplars.loc[judged.exemplars["unit_id"] == "random_subject-3"]
    found = []
    for row in shown.loc[shown["role"] == "score"].head(6).to_dict("records"):
        here = (contexts["document"] == row["document"]) & (contexts["position"] <= row["position"])
        context = np.flatnonzero(here)[-1]
        tokens, _ = inputs.corpus.batch(np.array([context]))
        x = drawn.run(torch.as_tensor(tokens), ["resid_post.0"])["resid_post.0"]
        place = int(row["position"]) - int(contexts["position"][context]) + int(inputs.corpus.bos_id is not None)
        z = inputs.dictionary.W_enc[3] @ x[0, place]
        found.append((float(row["activation"]) + 0.01) / float(z))
    assert found
    assert max(found) == pytest.approx(min(found), rel=1e-3), "one number rescales them all"


# In a run


def test_random_units_are_explained_and_judged_like_others(judged: truth.Result) -> None:
    for kind in records.RANDOM_KINDS:
        mine = judged.units.loc[(judged.units["kind"] == kind) & (judged.units["status"] == "alive")]
        assert len(mine) > 5
        assert mine["explanation"].notna().all()
        assert mine["mean_score"].notna().all()
        rows = judged.judgements.loc[judged.judgements["kind"] == kind]
        assert {"main", "shuffled", "base_rate"} == set(rows["arm"])
        assert set(rows.loc[rows["arm"] == "shuffled", "explanation_unit_id"]) <= set(mine["unit_id"])


def test_trained_features_are_graded_above_random_ones(judged: truth.Result) -> None:
    found = judged.summary["evidence"]["random"]
    assert list(found) == list(records.RANDOM_KINDS)
    units = judged.units
    for kind, figures in found.items():
        mine = units.loc[units["kind"] == kind]
        assert figures["mean"] == pytest.approx(float(mine["mean_score"].mean()))
        assert figures["ci_low"] < figures["mean"] < figures["ci_high"]
        assert (figures["n_units"], figures["n"]) == (len(mine), int(mine["mean_score"].notna().sum()))
        assert figures["n_explained"] == figures["n_alive"] == int((mine["status"] == "alive").sum())
        assert figures["dead"] == pytest.approx(float((mine["status"] == "dead").mean()))
        against = figures["features_minus"]
        features = units.loc[units["kind"] == "feature", "mean_score"].mean()
        assert against["difference"] == pytest.approx(features - figures["mean"])
        # The interval of so few units need not exclude 0.
        assert 0 < against["difference"] < against["ci_high"]


def test_random_units_do_not_enter_the_figures_of_features_and_neurons(
    world: planted.World, results: Path, judged: truth.Result
) -> None:
    without = truth.carry(spec_of(world), results)
    for name in COUNTED:
        assert judged.summary[name] == without.summary[name], name
    assert without.summary["evidence"]["random"] is None
    assert judged.summary["evidence"]["normalised"] == without.summary["evidence"]["normalised"]
    assert set(without.units["kind"]) == {"feature", "neuron"}


def test_a_resumed_run_asks_nothing_more(world: planted.World, results: Path, judged: truth.Result) -> None:
    judge = truth.Counting()
    again = truth.carry(spec_of(world, **BOTH), results, judge)
    assert judge.asked == 0
    pd.testing.assert_frame_equal(again.judgements, judged.judgements)


def test_the_cost_bounds_hold_with_random_units(world: planted.World, judged: truth.Result) -> None:
    model = {"model": "openai/gpt-5.4-mini"}
    explaining, scoring = bounds.bounds(world.spec(controls=BOTH, judge=model))
    assert scoring.calls >= len(judged.judgements)
    few = bounds.bounds(world.spec(judge=model))
    assert (scoring.calls - few[1].calls) * (16 + 16) == few[1].calls * 2 * 16
    assert explaining.calls == 2 * few[0].calls


# The small form


def test_both_kinds_are_evaluated_in_a_small_form_by_default(world: planted.World) -> None:
    data = {name: getattr(world.spec(), name).model_dump() for name in ("subject", "dictionary", "corpus")}
    spec = parse({**data, "units": {"features": 100}})
    assert control_units.random_forms(spec) == dict.fromkeys(records.RANDOM_KINDS, control_units.SMALL)
    assert control_units.n_random(spec, control_units.SMALL) == 16
    full = spec_of(world, **BOTH)
    assert control_units.random_forms(full) == dict.fromkeys(records.RANDOM_KINDS, control_units.FULL)
    assert not set(control_units.random_names(full)) & set(control_units.random_names(spec))
    for switched_off in ({"random_dictionary": False}, {"random_subject": False}):
        assert len(control_units.random_forms(parse({**data, "controls": switched_off}))) == 1


def test_the_small_form_asks_less_and_has_an_interval(
    world: planted.World, results: Path, judged: truth.Result
) -> None:
    small = truth.carry(spec_of(world, random_dictionary="small"), results)
    figures = small.summary["evidence"]["random"]["random_dictionary"]
    assert figures["n_units"] == CONCEPTS
    assert figures["ci_low"] < figures["mean"] < figures["ci_high"]
    assert figures["features_minus"]["ci_low"] is not None

    def main_items(result: truth.Result) -> pd.Series[int]:
        rows = result.judgements
        mine = rows.loc[(rows["kind"] == "random_dictionary") & (rows["arm"] == "main")]
        return mine.groupby(["unit_id", "bin"]).size()

    assert main_items(small).max() == 2
    assert main_items(judged).max() == 4
    assert small.summary["headline"] == judged.summary["headline"]


def test_a_drawn_shard_has_the_tokens_that_were_asked_for(world: planted.World) -> None:
    corpus = open_inputs(spec_of(world), quiet).corpus
    shard = sae.harvest.harvest.drawn_shard(corpus, 3000, 32, seed=1)
    rows = np.concatenate(shard)
    assert len(set(rows.tolist())) == len(rows) < len(corpus.contexts)
    assert 3000 <= sae.harvest.harvest.n_tokens(corpus, shard) < 3000 + 64
    again = sae.harvest.harvest.drawn_shard(corpus, 3000, 4096, seed=1)
    assert np.array_equal(np.concatenate(again), rows), "the batches' size decides nothing"


def test_a_kind_that_cannot_be_made_is_left_out_with_its_reason(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_weights, "available_memory", lambda: 1000)
    with pytest.raises(SubjectError, match=r"too little memory for .* a second time, with random weights"):
        merge.harvest(open_inputs(spec_of(world, random_subject=True), quiet), Artifacts(tmp_path), quiet)
    result = truth.carry(spec_of(world, random_subject="small"), tmp_path)
    figures = result.summary["evidence"]["random"]["random_subject"]
    assert (figures["n_units"], figures["mean"]) == (0, None)
    assert figures["why"].startswith("too little memory for ")
    assert figures["absent"]["dead"] == f"no unit could be made: {figures['why']}"
    check = next(c for c in result.summary["belief"]["checks"] if c["name"] == "random")
    assert check["passed"] is None
    assert figures["why"] in check["said"]
    assert "too little memory for subject a second time" in (result.folder / "report.md").read_text("utf-8")
    assert "random_subject" not in set(result.units["kind"])


def test_a_subject_that_transformers_cannot_make_is_an_error_of_one_line(
    world: planted.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = load_subject(str(world.subject), precision="float32", device="cpu")

    def fails(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no such\narchitecture")

    monkeypatch.setattr(random_weights.AutoModelForCausalLM, "from_config", fails)
    with pytest.raises(
        SubjectError, match=r"cannot be made with random weights \(no such architecture\): set controls"
    ):
        random_subject(subject, 0)


def test_controls_have_no_second_explanation() -> None:
    kinds: list[Any] = ["feature", "neuron", "planted", *records.RANDOM_KINDS]
    units = [Unit(f"{kind}-0", kind, 0, "", "", 1.0, 0.1, "alive") for kind in kinds]
    jobs = planned_jobs.explain_jobs(units, ["contrast"])
    assert [job.unit_id for job in jobs if job.arm] == ["feature-0", "neuron-0"]
    assert [job.unit_id for job in jobs if not job.arm] == [f"{kind}-0" for kind in kinds if kind != "planted"]


def test_only_features_and_neurons_are_judged_under_a_second_explanation(world: planted.World) -> None:
    spec = world.spec(explain={"compare": ["contrast"]})
    shown = Exemplar("e", "u", "score", 0, 0, 1.0, 1.0, 10, 1.0, 0, ("a",), (1.0,))
    for kind, wanted in (("feature", True), ("random_subject", False)):
        unit = Unit("u", kind, 0, "", "", 1.0, 0.1, "alive")  # type: ignore[arg-type]
        arms = {item.arm for item in planned_jobs.main_items(spec, unit, [shown])}
        assert (Arm.VARIANT in arms) == wanted
