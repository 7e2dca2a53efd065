"""Batches and nights carried by workers: a batch outlives whoever handed it in, and a night is one night however often it is begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import tomli_w
import torch
from safetensors.torch import load_file, save_file
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services import fleet as fleet_
from support.services.fleet import ACTIVATIONS, AGGREGATE, BEAT, JUDGE, Fleet

from autointerp.ledger.schema import batches, dictionaries, nights
from autointerp.nightly import night
from autointerp.pipeline.submit import submit

FEW = {
    "units": {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]},
    "score": {"per_bin": 2},
    "controls": {"shuffled": 2, "base_rate": 2},
}
ANCHORS = 10
pytestmark = pytest.mark.timeout(600)


def start(fleet: Fleet) -> None:
    for name, arguments in {"activations": ACTIVATIONS, "judge": JUDGE, "aggregate": AGGREGATE, "beat": BEAT}.items():
        fleet.start(name, *arguments)


def test_a_restarted_worker_adopts_running_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = planted.make(tmp_path / "world")
    with (
        fleet_.running(tmp_path / "fleet", forked=True) as fleet,
        ProviderServer(think_apart, batch_delay_s=3.0) as server,
    ):
        for name, value in fleet.environment.items():
            monkeypatch.setenv(name, value)
        start(fleet)
        spec = world.spec(**FEW, judge=planted_runs.judge(planted_runs.MODELS[0], server, transport="batch"))
        run_id = submit(fleet.ledger, spec, fleet.results).run_id
        for stage in ("explain", "score"):
            fleet.wait([run_id], until=lambda _, stage=stage: submitted(fleet, stage))
            fleet.kill("judge")
            fleet.supervise()
        assert fleet.wait([run_id]) == {run_id: "done"}
        asked = [custom_id.partition("-")[2] for batch in server.batches for custom_id in batch.custom_ids]
        assert set(Counter(asked).values()) == {1}, "a batch was handed in again"
        assert set(Counter(entry.body_hash for entry in server.books if entry.billed).values()) == {1}
    assert set(planted_runs.tables(fleet.results / run_id)["judgements"]["outcome"]) == {"scored"}


def submitted(fleet: Fleet, stage: str) -> bool:
    with fleet.ledger.read() as tx:
        return stage in tx.execute(sa.select(batches.c.stage).where(batches.c.provider_id != "")).scalars().all()


def test_a_night_that_beat_begins_twice_is_one_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = planted.make(tmp_path / "world")
    watched = tmp_path / "dictionaries"
    for name, noise in {"first-v1": 0.0, "second-v1": 0.1}.items():
        variant(world.dictionary, watched / name, noise)
    (watched / "broken-v1").mkdir()
    (watched / "broken-v1" / "cfg.json").write_text("{}")
    (watched / "broken-v1" / "sae_weights.safetensors").write_bytes(b"nothing")
    with ProviderServer(think_apart) as server:
        template = tomllib.loads(world.spec(**FEW, judge=planted_runs.judge(planted_runs.MODELS[0], server)).to_toml())
        del template["dictionary"]["path"]
        nightly = {
            "night": {"start": "00:00", "usd": 5.0, "anchors": ANCHORS},
            "sources": [{"folder": str(watched / "*")}],
            "spec": template,
        }
        (tmp_path / "nightly.toml").write_text(tomli_w.dumps(nightly))
        with fleet_.running(tmp_path / "fleet", forked=True, AUTOINTERP_NIGHTLY=tmp_path / "nightly.toml") as fleet:
            for name, value in fleet.environment.items():
                monkeypatch.setenv(name, value)
            age(watched)
            date = night.today()
            start(fleet)
            tick(fleet)
            tick(fleet)
            fleet.wait([], until=lambda _: queued(fleet) == 2)
            run_ids = [run_id for run_id in scored(fleet) if run_id]
            assert set(fleet.wait(run_ids).values()) == {"done"}
            fleet.wait([], until=lambda _: ended(fleet, date), meanwhile=every_few(lambda: tick(fleet)))
            summary = json.loads((fleet.results / "nights" / f"{date}.json").read_text())
            page = (fleet.results / "index.html").read_text()
            with fleet.ledger.read() as tx:
                assert tx.execute(sa.select(sa.func.count()).select_from(nights)).scalar_one() == 1
    assert len(summary["scored"]) == 2
    assert [Path(entry["path"]).name for entry in summary["corrupt"]] == ["broken-v1"]
    assert all(run_id in page for run_id in run_ids)
    again = Counter(entry.body_hash for entry in server.books if entry.billed)
    assert sum(n - 1 for n in again.values()) == ANCHORS, "only the anchors are asked again"


def variant(source: Path, target: Path, noise: float) -> None:
    target.mkdir(parents=True)
    tensors = load_file(source / "sae_weights.safetensors")
    generator = torch.Generator().manual_seed(0)
    tensors["W_dec"] = tensors["W_dec"] + noise * torch.randn(tensors["W_dec"].shape, generator=generator)
    save_file(tensors, target / "sae_weights.safetensors")
    (target / "cfg.json").write_text((source / "cfg.json").read_text())


def age(folder: Path) -> None:
    """Make files old enough not to be taken for half written."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


def tick(fleet: Fleet) -> None:
    """What beat sends every minute."""
    words = [sys.executable, "-m", "celery", "-A", "workers.app", "call", "autointerp.nightly"]
    subprocess.run(words, env=dict(os.environ), cwd=fleet_.ROOT, check=True, capture_output=True)


def every_few(do: Callable[[], None]) -> Callable[[], None]:
    calls = iter(range(10_000))
    return lambda: do() if next(calls) % 50 == 0 else None


def scored(fleet: Fleet) -> list[str]:
    with fleet.ledger.read() as tx:
        return list(tx.execute(sa.select(dictionaries.c.run_id).where(dictionaries.c.state == "queued")).scalars())


def queued(fleet: Fleet) -> int:
    return sum(map(bool, scored(fleet)))


def ended(fleet: Fleet, date: str) -> bool:
    with fleet.ledger.read() as tx:
        return tx.execute(sa.select(nights.c.state).where(nights.c.date == date)).scalar() == "done"
