"""Workers ask grouped questions, adaptive rounds, other scorers and a second judge as one process does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.providers.server import ProviderServer
from support.services import fleet as fleet_
from support.services.fleet import QUICK_APP
from support.services.servers import PostgresServer

from autointerp.pipeline.submit import submit

pytestmark = pytest.mark.slow


def test_workers_ask_the_same_rounds_of_questions_as_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_service: PostgresServer
) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    world = judged_runs.make(tmp_path / "world")
    with (
        ProviderServer(judged_runs.think) as server,
        fleet_.running(tmp_path / "fleet", postgres_service, app=QUICK_APP, forked=True) as service,
    ):
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
        service.start_all()
        run_id = submit(service.ledger, spec, service.results).run_id
        states = service.wait([run_id])
        of_workers = server.books[:]
        run, ledger = judged_runs.open_(spec, tmp_path / "one")
        summary = planted_runs.carry(run, ledger)
    assert run.run_id == run_id
    assert states[run_id] == ("withheld" if "withheld" in summary["headline"] else "done")
    carried, expected = service.results / run_id, run.folder
    pd.testing.assert_frame_equal(judged_runs.judgements(carried), judged_runs.judgements(expected))
    figures = [pd.read_parquet(folder / "scorers.parquet") for folder in (carried, expected)]
    keys = ["scorer", "unit_id", "figure"]
    pd.testing.assert_frame_equal(*(table.sort_values(keys, ignore_index=True) for table in figures))
    for part in ("headline", "evidence", "scorers", "controls"):
        assert planted_runs.summary(carried)[part] == planted_runs.summary(expected)[part], part
    hashes = [entry.body_hash for entry in of_workers]
    assert len(set(hashes)) == len(hashes), "a question was asked twice"
    assert set(hashes) == {entry.body_hash for entry in server.books[len(of_workers) :]}
    rows = judged_runs.judgements(expected)
    assert set(rows["judge"]) == {planted_runs.MODELS[0], planted_runs.MODELS[1]}
