"""Windows of a unit's nearest neighbours, made from windows that the harvest keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.planted_world import world as planted

from autointerp.harvest import neighbour_windows
from autointerp.harvest.inputs import Inputs, open_inputs
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress, quiet
from autointerp.questions import planned_jobs
from autointerp.records import Arm
from autointerp.run import Run
from autointerp.spec.spec import Spec
from sae.analysis import neighbour_windows as sae_windows
from sae.analysis.context_search import context_of
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
    units, windows = (pd.read_parquet(run.harvest / name) for name in neighbour_windows.names(spec))
    nearest = {unit: list(near) for unit, near in zip(units["unit_id"], units["nearest"], strict=True)}
    return Made(run, open_inputs(spec, quiet), windows, nearest)


def test_the_unit_is_silent_at_the_mark_and_its_neighbour_strongly_active(made: Made) -> None:
    keys = [UnitKey(u.kind, u.index, u.sign) for u in made.run.units.values()]
    reader = UnitReader(made.inputs.subject, made.inputs.dictionary, keys)
    rows, _ = context_of(made.inputs.corpus, made.windows)
    number = {key.unit_id: i for i, key in enumerate(keys)}
    contexts = read_contexts(reader, made.inputs.corpus, rows.tolist())
    assert len(made.windows) > 3 * len(keys)
    for window, context, row in zip(made.windows.itertuples(), contexts, rows, strict=True):
        column = window.position - int(made.inputs.corpus.contexts["position"][row])
        own = context.activations[number[window.unit_id]]
        other = context.activations[number[window.active_unit], column]
        assert own[column] == 0 == window.activation == window.bin
        assert other > 0.4 * made.run.units[window.active_unit].max_activation
        start = column - window.mark
        assert own[start : start + len(window.tokens)] == pytest.approx(np.array(window.token_activations))
        assert made.inputs.token_texts(context.ids[start : start + len(window.tokens)]) == list(window.tokens)


def test_windows_are_of_the_judging_side_and_overlap_none_of_the_units_own(made: Made) -> None:
    rows, _ = context_of(made.inputs.corpus, made.windows)
    keys = torch.from_numpy(made.inputs.corpus.document_keys(rows))
    assert set(split_of(keys, made.run.spec.units.seed).tolist()) == {JUDGE}
    for unit_id, windows in made.windows.groupby("unit_id"):
        exemplars = made.run.exemplars[str(unit_id)]
        at = [(e.document, e.position) for e in exemplars if e.role != "neighbour"]
        at += list(zip(windows["document"], windows["position"], strict=True))
        assert len({e.exemplar_id for e in exemplars}) == len(exemplars) or len(exemplars) > len(at)
        for window in windows.itertuples():
            near = [abs(p - window.position) for d, p in at if d == window.document]
            assert sum(gap < made.run.spec.harvest.window_tokens for gap in near) == 1  # the window itself


def test_neighbours_are_of_one_kind_and_those_that_share_a_concept_come_first(world: planted.World, made: Made) -> None:
    for unit_id, near in made.nearest.items():
        assert unit_id not in near
        assert {made.run.units[other].kind for other in near} <= {made.run.units[unit_id].kind}
        assert len(near) <= sae_windows.NEAREST
        sharing = {
            other
            for other in made.run.units
            if other != unit_id
            and made.run.units[other].kind == made.run.units[unit_id].kind
            and set(world.answers(other)) & set(world.answers(unit_id))
        }
        if world.kind(unit_id) == "pure" and sharing and unit_id.startswith("feature"):
            assert near[0] in sharing, (unit_id, near, sharing)


def test_the_windows_are_judged_under_the_units_own_explanation(made: Made) -> None:
    items = planned_jobs.score_items(made.run.spec, list(made.run.units.values()), made.run.exemplars)
    beside = [item for item in items if item.arm is Arm.NEIGHBOUR]
    assert len(beside) == len(made.windows)
    assert all(item.explained_by.text == item.unit_id for item in beside)
    assert all(made.run.exemplar(item).role == "neighbour" for item in beside)


def test_a_run_without_neighbours_reads_and_asks_as_before(world: planted.World) -> None:
    none = spec_of(world, neighbours=0)
    assert neighbour_windows.names(none) == ()
    assert none.hash() == none.as_before().hash()
    assert "neighbours" not in none.identity()["controls"]
    assert none.scorers == none.score.also == ()
    assert spec_of(world).scorers == ("distinction",)


def test_few_tokens_read_again_leave_neighbours_for_every_unit(
    world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sae_windows, "TOKENS", 640)
    spec = spec_of(world)
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec, tmp_path, progress)
    windows = pd.read_parquet(run.harvest / neighbour_windows.names(spec)[1])
    assert 0 < windows.drop_duplicates(["document"])["document"].size <= 15
    assert windows["unit_id"].nunique() > 20
