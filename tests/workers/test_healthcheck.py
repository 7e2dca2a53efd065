from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.locations import ROOT

from autointerp.ledger import schema, workers
from autointerp.ledger.database import Ledger
from autointerp.settings import Settings


def asked(results: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTOINTERP_")}
    command = [sys.executable, "-m", "workers.healthcheck"]
    return subprocess.run(
        command, env=env | {"AUTOINTERP_RESULTS": str(results)}, cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("change", "healthy"),
    [({}, True), ({"beat_at": time.time() - 600}, False), ({"state": "gone"}, False), ({"host": "another"}, False)],
    ids=["beats", "silent", "gone", "another host"],
)
def test_a_worker_is_healthy_while_its_heartbeat_advances(
    tmp_path: Path, change: dict[str, object], healthy: bool
) -> None:
    ledger = Ledger.open(Settings(results=tmp_path).ledger_url)
    with ledger.write() as tx:
        workers.register(tx, "w", queues="activations", version="1")
        assert tx.execute(sa.select(schema.workers.c.host)).scalar() == socket.gethostname()
        if change:
            tx.execute(sa.update(schema.workers).values(**change))
    ledger.close()
    ended = asked(tmp_path)
    assert (ended.returncode == 0) is healthy
    assert ended.stderr == ("" if healthy else "autointerp: no worker on this host has a recent heartbeat\n")
