"""Batches and nights executed by workers: batches survive the worker that submitted them, and repeated starts give one night."""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import tomli_w
import torch
from celery import Celery
from safetensors.torch import load_file, save_file
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services import fleet as fleet_
from support.services.fleet import QUICK_APP, Fleet
from support.services.servers import PostgresServer

from autointerp.ledger.schema import batches, dictionaries, nights
from autointerp.nightly import night
from autointerp.pipeline.submit import submit

FEW = {
    "units": {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]},
    "score": {"per_bin": 1},
    "controls": {"shuffled": 2, "base_rate": 2},
    "studies": {"tokens": 0},
    "report": {"resamples": 200},
}
ANCHORS = 10
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_restarted_worker_collects_the_batches_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_service: PostgresServer
) -> None:
    world = planted.make(tmp_path / "world")
    with (
        fleet_.running(tmp_path / "fleet", postgres_service, app=QUICK_APP, forked=True) as fleet,
        ProviderServer(think_apart, batch_delay_s=2.0) as server,
    ):
        for name, value in fleet.environment.items():
            monkeypatch.setenv(name, value)
        fleet.start_all()
        spec = world.spec(**FEW, judge=planted_runs.judge(planted_runs.MODELS[0], server, transport="batch"))
        run_id = submit(fleet.ledger, spec, fleet.results).run_id
        for stage in ("explain", "score"):
            fleet.wait([run_id], until=lambda _, stage=stage: submitted(fleet, stage))
            fleet.kill("judge")
            fleet.supervise()
        assert fleet.wait([run_id]) == {run_id: "done"}
        submitted_ids = [custom_id.partition("-")[2] for batch in server.batches for custom_id in batch.custom_ids]
        assert set(Counter(submitted_ids).values()) == {1}, "a batch was submitted twice"
        assert set(Counter(entry.body_hash for entry in server.books if entry.billed).values()) == {1}
    assert set(planted_runs.tables(fleet.results / run_id)["judgements"]["outcome"]) == {"scored"}


def submitted(fleet: Fleet, stage: str) -> bool:
    """Whether a batch of a stage was submitted."""
    with fleet.ledger.read() as tx:
        return stage in tx.execute(sa.select(batches.c.stage).where(batches.c.provider_id != "")).scalars().all()


def test_a_night_that_beat_starts_twice_is_one_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_service: PostgresServer
) -> None:
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
        nightly_file = tmp_path / "nightly.toml"
        nightly_file.write_text(tomli_w.dumps(nightly))
        with fleet_.running(
            tmp_path / "fleet", postgres_service, app=QUICK_APP, forked=True, AUTOINTERP_NIGHTLY=nightly_file
        ) as fleet:
            for name, value in fleet.environment.items():
                monkeypatch.setenv(name, value)
            make_old(watched)
            date = night.today()
            fleet.start_all()
            tick(fleet)
            tick(fleet)
            fleet.wait([], until=lambda _: sum(map(bool, queued_runs(fleet))) == 2)
            run_ids = [run_id for run_id in queued_runs(fleet) if run_id]
            assert set(fleet.wait(run_ids).values()) == {"done"}
            fleet.wait([], until=lambda _: ended(fleet, date), meanwhile=every_few(lambda: tick(fleet)))
            summary = json.loads((fleet.results / "nights" / f"{date}.json").read_text())
            page = (fleet.results / "index.html").read_text()
            with fleet.ledger.read() as tx:
                assert tx.execute(sa.select(sa.func.count()).select_from(nights)).scalar_one() == 1
    assert len(summary["scored"]) == 2
    assert [Path(entry["path"]).name for entry in summary["corrupt"]] == ["broken-v1"]
    assert all(run_id in page for run_id in run_ids)
    asked = Counter(entry.body_hash for entry in server.books if entry.billed)
    assert sum(n - 1 for n in asked.values()) == ANCHORS, "questions other than the anchors were asked again"


def variant(source: Path, target: Path, noise: float) -> None:
    """Write a copy of a dictionary, with noise added to its decoder."""
    target.mkdir(parents=True)
    tensors = load_file(source / "sae_weights.safetensors")
    generator = torch.Generator().manual_seed(0)
    tensors["W_dec"] = tensors["W_dec"] + noise * torch.randn(tensors["W_dec"].shape, generator=generator)
    save_file(tensors, target / "sae_weights.safetensors")
    (target / "cfg.json").write_text((source / "cfg.json").read_text())


def make_old(folder: Path) -> None:
    """Make files old enough that they do not count as still being written."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


def tick(fleet: Fleet) -> None:
    """Send the message that beat sends every minute."""
    with Celery(broker=fleet.redis.url) as app:
        app.send_task("autointerp.nightly", queue="control")


def every_few(do: Callable[[], None]) -> Callable[[], None]:
    calls = iter(range(10_000))
    return lambda: do() if next(calls) % 50 == 0 else None


def queued_runs(fleet: Fleet) -> list[str]:
    """Ids of the runs of queued dictionaries; empty for one whose run is not submitted yet."""
    with fleet.ledger.read() as tx:
        return list(tx.execute(sa.select(dictionaries.c.run_id).where(dictionaries.c.state == "queued")).scalars())


def ended(fleet: Fleet, date: str) -> bool:
    """Whether a night is done."""
    with fleet.ledger.read() as tx:
        return tx.execute(sa.select(nights.c.state).where(nights.c.date == date)).scalar() == "done"
