"""Whether a worker on this host is alive: `python -m workers.health` exits 0 or 1.

For workers of one process (`--pool solo`), which answer `celery inspect ping` only between tasks: it asks the ledger for their
heartbeat instead.
"""

from __future__ import annotations

import socket
import sys
import time

import sqlalchemy as sa

from autointerp.errors import AutointerpError
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import workers
from autointerp.settings import Settings

SILENT_S = 60.0


def alive(ledger: Ledger, host: str) -> bool:
    """Whether a live worker of this host has beaten within the last minute."""
    with ledger.read() as tx:
        mine = sa.and_(workers.c.host == host, workers.c.state == "live", workers.c.beat_at > time.time() - SILENT_S)
        return bool(tx.execute(sa.select(sa.func.count()).select_from(workers).where(mine)).scalar())


def main() -> None:
    try:
        ledger = Ledger.open(Settings.from_env().ledger_url)
        sys.exit(0 if alive(ledger, socket.gethostname()) else "autointerp: no worker of this host has a heartbeat")
    except AutointerpError as error:
        sys.exit(f"autointerp: {error}")


if __name__ == "__main__":
    main()
