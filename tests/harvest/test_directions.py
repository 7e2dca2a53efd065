"""Directions that no dictionary learnt: read, explained and judged like other units, and kept out of all figures but their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.planted_world import truth
from support.planted_world import world as planted

from autointerp import records
from autointerp.harvest.inputs import open_inputs
from autointerp.progress import quiet
from autointerp.report import prose
from autointerp.spec.spec import Spec
from sae.controls import directions
from sae.controls.directions import BASIS, RANDOM

BOTH = {"basis_directions": True, "random_directions": True}
N = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("planted") / "world", documents=60)


@pytest.fixture(scope="module")
def judged(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> truth.Result:
    return truth.carry(spec_of(world, **BOTH), tmp_path_factory.mktemp("results"))


def spec_of(world: planted.World, **controls: bool) -> Spec:
    return world.spec(units={"feature_ids": list(range(N))}, explain={"min_exemplars": 4}, controls=controls)


def test_each_direction_is_a_unit_vector_that_depends_on_the_seed_alone() -> None:
    for kind in (BASIS, RANDOM):
        few, many, other = (directions.sample_directions(kind, 16, n, seed) for n, seed in ((5, 0), (20, 0), (5, 1)))
        assert few == many[:5]
        assert len({key.unit_id for key in many}) == 20
        rows = directions.vectors(many, 16, 0)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(20))
        assert torch.equal(directions.vectors(few, 16, 0), rows[:5])
        assert not torch.allclose(directions.vectors(other, 16, 1), rows[:5])
    assert len(directions.sample_directions(BASIS, 3, 32, 0)) == 6, "each dimension has two signs"


def test_a_spec_without_directions_keeps_its_hash(world: planted.World) -> None:
    assert spec_of(world).hash() == spec_of(world, basis_directions=False).hash()
    assert spec_of(world).hash() != spec_of(world, **BOTH).hash()


def test_directions_are_units_of_their_own_kind(judged: truth.Result) -> None:
    found = judged.summary["evidence"]["random"]
    assert list(found) == list(records.DIRECTION_KINDS)
    for kind in records.DIRECTION_KINDS:
        mine = judged.units.loc[judged.units["kind"] == kind]
        assert len(mine) == N
        assert mine["explanation"].notna().sum() == (mine["status"] == "alive").sum() > 3
        assert set(judged.judgements.loc[judged.judgements["kind"] == kind, "arm"]) >= {"main", "shuffled"}
        assert found[kind]["n_units"] == N
        assert kind in prose.KINDS
        assert kind in prose.READ_CONTROLS
    assert set(judged.units.loc[judged.units["kind"] == BASIS, "sign"]) <= {"+", "-"}
    assert judged.summary["denominator"].keys() == {"feature", "neuron"}
    page = (Path(judged.folder) / "report.html").read_text("utf-8")
    assert "Basis direction" in page


def test_activations_are_those_of_the_centred_values(world: planted.World, judged: truth.Result) -> None:
    """The largest activation of each direction, computed anew from the tokens around its exemplars."""
    inputs = open_inputs(spec_of(world, **BOTH), quiet)
    contexts = inputs.corpus.contexts
    shown = judged.exemplars.loc[
        judged.exemplars["unit_id"].str.startswith(BASIS) & (judged.exemplars["role"] == "score")
    ]
    found = []
    for row in shown.head(8).to_dict("records"):
        here = (contexts["document"] == row["document"]) & (contexts["position"] <= row["position"])
        context = np.flatnonzero(here)[-1]
        tokens, _ = inputs.corpus.batch(np.array([context]))
        x = inputs.subject.run(torch.as_tensor(tokens), ["resid_post.0"])["resid_post.0"]
        place = int(row["position"]) - int(contexts["position"][context]) + int(inputs.corpus.bos_id is not None)
        index, sign = int(row["unit_id"].split("-")[1].rstrip("+-") or 0), 1.0 if row["unit_id"].endswith("+") else -1.0
        found.append((row["unit_id"], float(row["activation"]) - sign * float(x[0, place, index])))
    offsets = pd.DataFrame(found, columns=["unit", "offset"]).groupby("unit")["offset"]
    assert (offsets.max() - offsets.min()).max() < 1e-3, "the mean is subtracted, and nothing else"
