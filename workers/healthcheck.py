"""Health check of the worker on this host: `python -m workers.healthcheck` exits with 0 or 1.

Workers with `--pool solo` answer `celery inspect ping` only between tasks, so this reads their heartbeat from the ledger.
"""

from __future__ import annotations

import socket
import sys
import time

import sqlalchemy as sa

from autointerp.errors import AutointerpError
from autointerp.ledger.database import Ledger
from autointerp.ledger.run_progress import SILENT_S
from autointerp.ledger.schema import workers
from autointerp.settings import Settings


def is_alive(ledger: Ledger, host: str) -> bool:
    """Whether a live worker of this host has a recent heartbeat."""
    with ledger.read() as tx:
        mine = sa.and_(workers.c.host == host, workers.c.state == "live", workers.c.beat_at > time.time() - SILENT_S)
        return bool(tx.execute(sa.select(sa.func.count()).select_from(workers).where(mine)).scalar())


def main() -> None:
    """Exit with 0 if a worker on this host is alive, else with 1 and a line on stderr."""
    try:
        settings = Settings.from_env()
        ledger = Ledger.in_folder(settings.results, settings.given_ledger)
        sys.exit(
            0 if is_alive(ledger, socket.gethostname()) else "autointerp: no worker on this host has a recent heartbeat"
        )
    except AutointerpError as error:
        sys.exit(f"autointerp: {error}")


if __name__ == "__main__":
    main()
