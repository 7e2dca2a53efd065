"""A run says in which keys its spec differs from that of the last run of its name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.planted_world import world as planted

from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.pipeline import spec_changes
from autointerp.run import Run
from autointerp.spec import rubric
from autointerp.spec.spec import Spec


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def spec_of(folder: Path, **sections: Any) -> Spec:
    world = planted.World(folder / "subject", folder / "dictionary", folder / "corpus.jsonl", ((),), ((),))
    return world.spec(**sections)


def run_of(spec: Spec, run_id: str) -> Run:
    return Run(run_id, spec, rubric.load("specificity"), Path("results") / run_id, Path("harvest"), {}, {}, {}, {}, {})


def begin(ledger: Ledger, spec: Spec, run_id: str) -> None:
    time.sleep(0.01)
    with ledger.write() as tx:
        runs.register(tx, run_id=run_id, name=spec.name, spec_hash="", spec=spec.to_toml())


def test_the_first_run_of_a_name_differs_from_none(ledger: Ledger, tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    begin(ledger, spec.model_copy(update={"name": "other"}), "other-1")
    assert spec_changes.since_last(ledger, run_of(spec, "planted-1")) is None


def test_a_run_names_the_keys_that_differ_and_their_values(ledger: Ledger, tmp_path: Path) -> None:
    begin(ledger, spec_of(tmp_path), "planted-1")
    now = run_of(spec_of(tmp_path, score={"per_bin": 7}, harvest={"top": 30}), "planted-2")
    said = "differs from planted-1, the last run of this name, in harvest.top (16, now 30), score.per_bin (4, now 7)"
    assert spec_changes.since_last(ledger, now) == said
    begin(ledger, now.spec, "planted-2")
    begin(ledger, spec_of(tmp_path), "planted-3")
    assert spec_changes.since_last(ledger, now) == said, "a later run does not count, and neither does the run itself"


def test_equal_specs_differ_in_their_files(ledger: Ledger, tmp_path: Path) -> None:
    begin(ledger, spec_of(tmp_path), "planted-1")
    said = spec_changes.since_last(ledger, run_of(spec_of(tmp_path), "planted-2"))
    assert said is not None
    assert said.endswith("in the content of a file that it names")


def test_a_long_value_with_line_breaks_stays_on_the_line(ledger: Ledger, tmp_path: Path) -> None:
    begin(ledger, spec_of(tmp_path), "planted-1")
    spec = spec_of(tmp_path, corpus={"sources": ["a\nb" * 100]})
    said = spec_changes.since_last(ledger, run_of(spec, "planted-2"))
    assert said is not None
    assert "corpus.sources (" in said
    assert "\n" not in said
    assert len(said) < 250
