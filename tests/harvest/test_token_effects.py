"""Tokens that units promote and suppress, in a world whose features write known words, and in the tables of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.planted_world import two_sided

from autointerp.findings import tables
from autointerp.harvest import token_effects
from autointerp.ledger.database import Ledger
from autointerp.pipeline import prepare as preparation
from autointerp.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_harvest_says_what_its_units_promote_and_suppress(tmp_path: Path) -> None:
    world = two_sided.make(tmp_path / "world", each=2, documents=60)
    spec = world.spec(studies={"two_sided": False})
    with Progress(quiet=True) as progress:
        run = preparation.prepare(spec, tmp_path / "results", progress)
    effects = token_effects.read(run.harvest)
    assert effects is not None
    features = effects.loc[effects["unit_id"].str.startswith("feature-")]
    for unit_id, promoted, suppressed in zip(
        *(features[c] for c in ("unit_id", "promoted", "suppressed")), strict=True
    ):
        feature = int(unit_id.removeprefix("feature-"))
        if world.classes[feature] in ("output", "both"):
            said = world.said(feature)
            assert {token.strip() for token in promoted[: len(said)]} == said
        assert not set(promoted) & set(suppressed)
    ledger = Ledger.in_folder(tmp_path / "results")
    units = tables.of_run(ledger, run).units.set_index("unit_id")
    assert list(units.loc[features["unit_id"], "promoted"].map(list)) == list(features["promoted"].map(list))
    (run.harvest / token_effects.FILE).unlink()  # as in a harvest of an earlier version
    assert not set(token_effects.COLUMNS) & set(tables.of_run(ledger, run).units)
