"""Workers carry rounds of groups, adaptive sampling, other scorers with the subject's part, and a second judge, as one process does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.providers.server import ProviderServer
from support.services import fleet as fleet_

from autointerp.pipeline.submit import submit


def test_workers_ask_the_same_in_rounds_as_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    world = judged_runs.make(tmp_path / "world")
    with ProviderServer(judged_runs.think) as server, fleet_.running(tmp_path / "fleet", forked=True) as service:
        sections: dict[str, Any] = {
            "units": {
                "feature_ids": [0, 1, 2, 8, 9, 10, 12, 13],
                "neuron_ids": [f"{i}+" for i in (0, 1, 4, 5, 6, 7, 10, 11)],
            },
            "score": {"per_call": 4, "also": ["detection", "sensitivity"]},
            "adaptive": {"unit": 0.6},
            "cascade": {"share": 0.3, "judge": planted_runs.judge(planted_runs.MODELS[1], server)},
            "controls": {"repeated": 6},
            "judge": planted_runs.judge(planted_runs.MODELS[0], server),
        }
        spec = judged_runs.spec(world, "rounds", **sections)
        service.start("activations", *fleet_.ACTIVATIONS)
        service.start("judge", *fleet_.JUDGE)
        service.start("aggregate", *fleet_.AGGREGATE)
        service.start("beat", *fleet_.BEAT)
        run_id = submit(service.ledger, spec, service.results).run_id
        states = service.wait([run_id])
        alone = server.books[:]
        run, ledger = judged_runs.open_(spec, tmp_path / "one")
        summary = planted_runs.carry(run, ledger)
    assert run.run_id == run_id
    assert states[run_id] == ("withheld" if "withheld" in summary["headline"] else "done")
    found, expected = service.results / run_id, run.folder
    pd.testing.assert_frame_equal(judged_runs.judgements(found), judged_runs.judgements(expected))
    figures = [pd.read_parquet(folder / "scorers.parquet") for folder in (found, expected)]
    keys = ["scorer", "unit_id", "figure"]
    pd.testing.assert_frame_equal(*(table.sort_values(keys, ignore_index=True) for table in figures))
    for part in ("headline", "evidence", "scorers", "controls"):
        assert planted_runs.summary(found)[part] == planted_runs.summary(expected)[part], part
    hashes = [entry.body_hash for entry in alone]
    assert len(set(hashes)) == len(hashes), "nothing is asked twice"
    assert set(hashes) == {entry.body_hash for entry in server.books[len(alone) :]}
    rows = judged_runs.judgements(expected)
    assert set(rows["judge"]) == {planted_runs.MODELS[0], planted_runs.MODELS[1]}
