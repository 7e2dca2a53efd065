"""Windows of a unit's nearest neighbours in the whole dictionary or layer, made from contexts that are read again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.planted_world import siblings
from support.planted_world import world as planted

from autointerp.harvest.control_units import neighbour_names
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress, quiet
from autointerp.questions import planned_jobs
from autointerp.records import Arm
from autointerp.run import Run
from autointerp.spec.spec import Spec
from sae.analysis import neighbour_places
from sae.analysis import neighbour_windows as sae_windows
from sae.analysis.context_search import context_of
from sae.analysis.explainer_windows import WindowSettings
from sae.analysis.unit_probe import read_contexts
from sae.harvest.harvest import UnitReader
from sae.harvest.token_positions import JUDGE, split_of
from sae.harvest.units import UnitKey

pytestmark = pytest.mark.usefixtures("one_thread")

NEIGHBOURS = 6


@dataclass(frozen=True)
class Made:
    """A run with its inputs, its table of neighbours' windows, and each unit's nearest units."""

    run: Run
    inputs: Inputs
    windows: pd.DataFrame
    nearest: dict[str, list[str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("near") / "world", documents=200)


def spec_of(world: planted.World, **controls: int) -> Spec:
    return world.spec(
        controls={"neighbours": NEIGHBOURS, **controls}, score={"per_bin": 3}, dictionary={"check": False}
    )


@pytest.fixture(scope="module")
def made(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> Made:
    spec, results = spec_of(world), tmp_path_factory.mktemp("results")
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec, results, progress)
    units, windows = (pd.read_parquet(run.harvest / name) for name in neighbour_names(spec))
    nearest = {unit: list(near) for unit, near in zip(units["unit_id"], units["nearest"], strict=True)}
    return Made(run, open_inputs(spec, quiet), windows, nearest)


def test_the_unit_is_silent_at_the_mark_and_its_neighbour_strongly_active(made: Made) -> None:
    keys = [UnitKey(u.kind, u.index, u.sign) for u in made.run.units.values()]
    keys += [UnitKey("neuron", u.index, "-") for u in keys if u.kind == "neuron"]
    reader = UnitReader(made.inputs.subject, made.inputs.dictionary, keys)
    rows, _ = context_of(made.inputs.corpus, made.windows)
    number = {key.unit_id: i for i, key in enumerate(keys)}
    contexts = read_contexts(reader, made.inputs.corpus, rows.tolist())
    assert len(made.windows) > 4 * len(made.run.units)
    for window, context, row in zip(made.windows.itertuples(), contexts, rows, strict=True):
        column = window.position - int(made.inputs.corpus.contexts["position"][row])
        own = context.activations[number[window.unit_id]]
        neighbour = number[window.active_unit]
        other = context.activations[neighbour, column]
        assert own[column] == 0 == window.activation == window.bin
        assert other >= 0.5 * max(c.activations[neighbour].max() for c in contexts)
        start = column - window.mark
        assert own[start : start + len(window.tokens)] == pytest.approx(np.array(window.token_activations))
        assert made.inputs.token_texts(context.ids[start : start + len(window.tokens)]) == list(window.tokens)


def test_windows_are_of_the_judging_side_and_those_in_documents_of_the_units_own_come_last(made: Made) -> None:
    rows, _ = context_of(made.inputs.corpus, made.windows)
    keys = torch.from_numpy(made.inputs.corpus.document_keys(rows))
    assert set(split_of(keys, made.run.spec.units.seed).tolist()) == {JUDGE}
    n_shared = 0
    for unit_id, windows in made.windows.groupby("unit_id"):
        exemplars = made.run.exemplars[str(unit_id)]
        assert len({e.exemplar_id for e in exemplars}) == len(exemplars)
        own = {e.document for e in exemplars if e.role != "neighbour"}
        shared = windows["document"].isin(own)
        assert shared.is_monotonic_increasing
        n_shared += shared.sum()
        for _, of_document in windows.groupby("document"):
            gaps = np.diff(np.sort(of_document["position"]))
            assert (gaps >= made.run.spec.harvest.window_tokens).all()
    assert n_shared < 0.1 * len(made.windows)


def test_a_unit_whose_exemplars_are_in_all_documents_gets_windows_that_overlap_none_of_them(
    world: planted.World, made: Made
) -> None:
    unit = next(u for u in made.run.units.values() if u.unit_id == "feature-9")
    exemplars = pd.read_parquet(made.run.harvest / "exemplars.parquet")
    own = exemplars.loc[exemplars["unit_id"] == unit.unit_id]
    contexts = made.inputs.corpus.contexts
    everywhere = own.iloc[[0] * made.inputs.corpus.n_documents].assign(
        document=np.arange(made.inputs.corpus.n_documents), position=contexts["position"][contexts["position"] == 0]
    )
    found = windows_of(made, [UnitKey("feature", 9, "")], everywhere)
    assert len(found) == NEIGHBOURS
    assert (found["position"] >= made.run.spec.harvest.window_tokens).all()


def windows_of(made: Made, units: list[UnitKey], exemplars: pd.DataFrame) -> pd.DataFrame:
    """Windows of the units' neighbours, given exemplars of the units."""
    inputs, spec = made.inputs, made.run.spec
    settings = WindowSettings(spec.harvest.window_tokens, 10, 1, math.inf, spec.units.seed)
    places = neighbour_places.find_places(inputs.subject, inputs.dictionary, inputs.corpus, units, settings)
    read = (places, inputs.corpus, inputs.token_texts)
    return sae_windows.neighbour_windows(*read, units, exemplars, NEIGHBOURS, settings).windows


def test_neighbours_share_a_concept_with_their_unit(world: planted.World, made: Made) -> None:
    for unit_id, near in made.nearest.items():
        assert unit_id not in near
        assert {other.split("-")[0] for other in near} <= {made.run.units[unit_id].kind}
        assert len(near) <= sae_windows.NEAREST
        own = set(world.answers(unit_id))
        if world.kind(unit_id) == "pure":
            sharing = [other for other in all_units(world, unit_id) if set(world.answers(other)) & own]
            assert set(near) == set(sharing) - {unit_id}


def all_units(world: planted.World, unit_id: str) -> list[str]:
    """All units of one unit's kind that are ever active: neurons are so with their positive sign."""
    if unit_id.startswith("feature"):
        return [f"feature-{i}" for i in range(len(world.features))]
    return [f"neuron-{i}+" for i in range(len(world.neurons))]


def test_the_windows_of_a_small_sample_are_those_of_siblings_that_are_not_in_it(tmp_path: Path) -> None:
    world, sampled = siblings.make(tmp_path / "world"), [0, 2, 4, 20, 40]
    spec = siblings.spec(world, units={"feature_ids": sampled, "neurons": 0})
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec, tmp_path, progress)
    units, windows = (pd.read_parquet(run.harvest / name) for name in neighbour_names(spec))
    assert list(units["nearest"].map(list)) == [[f"feature-{siblings.sibling(i)}"] for i in sampled]
    assert np.concatenate(units["cosine"]) == pytest.approx(0.8)
    assert np.concatenate(units["coactivation"]) == pytest.approx(0)
    assert set(windows["unit_id"]) == {f"feature-{i}" for i in sampled}
    for window in windows.itertuples():
        group = siblings.sibling(int(str(window.unit_id).split("-")[1]))
        assert window.active_unit == f"feature-{group}"
        assert window.tokens[window.mark].strip() in siblings.words_of(group)


def test_the_windows_are_judged_under_the_units_own_explanation(made: Made) -> None:
    items = planned_jobs.score_items(made.run.spec, list(made.run.units.values()), made.run.exemplars)
    beside = [item for item in items if item.arm is Arm.NEIGHBOUR]
    assert len(beside) == len(made.windows)
    assert all(item.explained_by.text == item.unit_id for item in beside)
    assert all(made.run.exemplar(item).role == "neighbour" for item in beside)


def test_a_run_without_neighbours_reads_and_asks_as_before(world: planted.World) -> None:
    none = spec_of(world, neighbours=0)
    assert neighbour_names(none) == ()
    assert none.hash() == none.as_before().hash()
    assert "neighbours" not in none.identity()["controls"]
    assert none.scorers == none.score.also == ()
    assert spec_of(world).scorers == ("distinction",)


@pytest.mark.parametrize("tokens", [0, 1, 64])
def test_too_few_tokens_leave_no_windows(made: Made, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_places, "TOKENS", tokens)
    exemplars = pd.read_parquet(made.run.harvest / "exemplars.parquet")
    found = windows_of(made, [UnitKey("feature", 9, ""), UnitKey("neuron", 2, "+")], exemplars)
    assert found.empty
    assert "active_unit" in found


def test_a_sample_without_alive_units_has_no_windows(made: Made) -> None:
    exemplars = pd.read_parquet(made.run.harvest / "exemplars.parquet")
    assert windows_of(made, [], exemplars.iloc[:0]).empty
