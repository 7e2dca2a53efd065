"""Both sides of units, measured in the planted world whose features have known classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import two_sided
from support.planted_world.two_sided import TwoSidedWorld

from autointerp.harvest import merge, unit_sides
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.finished import is_complete
from autointerp.harvest.inputs import open_inputs
from autointerp.harvest.makers import unit_sides as maker
from autointerp.harvest.shards import begin_harvest
from autointerp.progress import quiet
from sae.analysis import output_effects

pytestmark = pytest.mark.usefixtures("one_thread")


def measured(folder: Path, each: int) -> tuple[TwoSidedWorld, pd.DataFrame]:
    world = two_sided.make(folder / "world", each=each)
    spec = world.spec()
    table = unit_sides.read(merge.harvest(open_inputs(spec, quiet), Artifacts(folder / "a"), quiet), spec)
    assert table is not None
    feature = table["unit_id"].str.removeprefix("feature-").astype(int)
    return world, table.assign(feature=feature, truth=[world.classes[f] for f in feature])


def right(table: pd.DataFrame) -> pd.Series:  # type: ignore[type-arg]
    return (table["side"] == table["truth"]).groupby(table["truth"]).mean()


@pytest.mark.parametrize("each", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_planted_units_get_their_class_and_their_words(tmp_path: Path, each: int) -> None:
    world, table = measured(tmp_path, each)
    assert len(table) == 4 * each
    assert (table["side"] == table["truth"]).mean() >= 0.9
    if each == 30:
        assert right(table).min() >= 0.9
    for unit in table.loc[table["truth"].isin(["output", "both"])].itertuples():
        assert (
            {text.strip() for text in unit.raised}
            == {text.strip() for text in unit.decoder_raised}
            == world.said(unit.feature)
        )
        assert unit.output_precision == unit.decoder_precision == 1
        assert unit.output_rise > 2 * unit.output_random_rise
    fires = table["truth"].isin(["input", "both"])
    assert table.loc[fires, "input_told"].min() > 0.9
    assert table.loc[~fires, "input_told"].max() < 0.75


def test_sides_are_made_only_on_request_and_once(tmp_path: Path) -> None:
    world = two_sided.make(tmp_path / "world", each=1, documents=60)
    artifacts = Artifacts(tmp_path / "a")
    without, spec = world.spec(studies={"two_sided": False}), world.spec()
    inputs = open_inputs(without, quiet)
    folder = merge.harvest(inputs, artifacts, quiet)
    assert unit_sides.read(folder, without) is None
    assert not list(folder.glob("sides-*"))
    requested = open_inputs(spec, quiet)
    plan = begin_harvest(requested, artifacts, quiet)
    assert is_complete(without, artifacts, plan)
    assert not is_complete(spec, artifacts, plan)
    assert merge.harvest(requested, artifacts, quiet) == folder
    [file] = folder.glob("sides-*")
    made = file.stat().st_mtime_ns
    merge.harvest(requested, artifacts, quiet)
    assert file.stat().st_mtime_ns == made


def test_measuring_that_breaks_off_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "INTERVAL_S", 0.0)
    monkeypatch.setattr(output_effects, "_LOGITS", 1)  # a unit at a time
    inputs, run = open_inputs(two_sided.make(tmp_path / "world", each=2, documents=60).spec(), quiet), list[int]()
    add = output_effects._run

    def counted(clamp: Any, largest: Any, *rest: Any) -> Any:
        run.append(len(largest))
        return add(clamp, largest, *rest)

    monkeypatch.setattr(output_effects, "_run", counted)
    whole = merge.harvest(inputs, Artifacts(tmp_path / "whole"), quiet)
    needed, artifacts = len(run), Artifacts(tmp_path / "broken")
    assert needed > 4

    def broken(phase: str, done: int, total: int) -> None:
        if done == 3 and phase.startswith("measuring both sides"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge.harvest(inputs, artifacts, broken)
    continued = merge.harvest(inputs, artifacts, quiet)
    assert len(run) == 2 * needed
    assert [path.name for path in continued.glob("sides-*")] == [path.name for path in whole.glob("sides-*")]
    for path in whole.glob("sides-*"):
        assert (continued / path.name).read_bytes() == path.read_bytes()


def test_a_spec_that_does_not_ask_keeps_its_hash(tmp_path: Path) -> None:
    world = two_sided.make(tmp_path / "world", each=1, documents=2)
    without, spec = world.spec(studies={"two_sided": False}), world.spec()
    assert "two_sided" not in without.identity()["studies"]
    assert without.hash() != spec.hash()
