"""Rows of `runs`: registering a run, its state, and the duration of its stages."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.errors import UsageError
from autointerp.ledger import budgets
from autointerp.ledger.database import advisory_lock, insert_new, now
from autointerp.ledger.schema import runs

LIVE = ("queued", "running")
_BEGUN = "@"
"""Prefix of a stage's key in `stage_s` whose value is the time at which the stage was planned, not its seconds."""
Carrier = Literal["local", "fleet", "explorer"]
"""Who executes a run: one process by itself, or the workers of the service. The questions that the explorer asks about an index have a row
of their own, which is no run."""
LIVE_WITH_WORKERS = sa.and_(runs.c.state.in_(LIVE), runs.c.carrier == "fleet")


def is_with_workers(row: RowMapping | Mapping[str, Any]) -> bool:
    """Whether the workers are executing a run: it was handed to them, and is queued or running."""
    return row["carrier"] == "fleet" and row["state"] in LIVE


def register(
    connection: Connection,
    *,
    run_id: str,
    name: str,
    spec_hash: str,
    spec: str,
    state: str = "running",
    carrier: Carrier = "local",
    night: str = "",
) -> None:
    """Add a run, or resume the existing one under the given spec, state and carrier."""
    now = time.time()
    row = {"run_id": run_id, "name": name, "spec_hash": spec_hash, "spec": spec, "state": state}
    insert_new(connection, runs, [row | {"created_at": now, "updated_at": now}])
    set_state(connection, run_id, state)
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(spec=spec, carrier=carrier))
    if night:
        budgets.move_to_night(connection, run_id, night)


def set_state(connection: Connection, run_id: str, state: str, reason: str = "", exit_code: int = 0) -> None:
    """Set a run's state. `exit_code` is that of the command that stopped it."""
    values = {"state": state, "reason": reason, "exit_code": exit_code, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def start(connection: Connection, run_id: str) -> bool:
    """Change a queued run to running; False if another worker already did."""
    values = {"state": "running", "updated_at": time.time()}
    mine = sa.and_(runs.c.run_id == run_id, runs.c.state == "queued")
    return connection.execute(sa.update(runs).where(mine).values(**values)).rowcount == 1


def stop(connection: Connection, run_id: str, reason: str, exit_code: int) -> bool:
    """Stop a live run; False if another worker already did."""
    values = {"state": "stopped", "reason": reason, "exit_code": exit_code, "updated_at": time.time()}
    mine = sa.and_(runs.c.run_id == run_id, runs.c.state.in_(LIVE))
    return connection.execute(sa.update(runs).where(mine).values(**values)).rowcount == 1


def claim_harvest(connection: Connection, run_id: str, harvest_key: str) -> bool:
    """Whether the run may read its harvest's shards. Of the workers' runs that need the same harvest only the first may."""
    advisory_lock(connection, f"harvest {harvest_key}")
    others = sa.and_(runs.c.harvest_key == harvest_key, runs.c.run_id != run_id, runs.c.carrier == "fleet")
    if connection.execute(sa.select(sa.exists().where(others, runs.c.state == "running"))).scalar_one():
        return False
    set_harvest(connection, run_id, harvest_key)
    return True


def get(connection: Connection, run_id: str) -> RowMapping | None:
    """A run's row, or None."""
    return connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).mappings().first()


def lock_row(connection: Connection, run_id: str) -> RowMapping | None:
    """A run's row, locked until the transaction ends, or None.

    `key_share` lets others add rows that refer to the run, as an UPDATE of it would: without it, a transaction that added one and then
    updates the run would be in a deadlock with one that updates it and then locks it.
    """
    locked = sa.select(runs).where(runs.c.run_id == run_id).with_for_update(key_share=True)
    return connection.execute(locked).mappings().first()


def hold_live(connection: Connection, run_id: str) -> None:
    """Hold a run's row, so that what this transaction stores comes before any stop. Raises `budgets.NotRunning` after one."""
    row = lock_row(connection, run_id)
    if row is not None and row["state"] not in LIVE:
        raise budgets.NotRunning(str(row["state"]))


def all_runs(connection: Connection) -> list[RowMapping]:
    """All runs, newest first. The rows of explorers are left out."""
    statement = sa.select(runs).where(runs.c.carrier != "explorer").order_by(runs.c.created_at.desc())
    return list(connection.execute(statement).mappings())


def live_with_workers(connection: Connection) -> list[RowMapping]:
    """The runs that the workers are executing, oldest first."""
    statement = sa.select(runs).where(LIVE_WITH_WORKERS).order_by(runs.c.created_at)
    return list(connection.execute(statement).mappings())


def set_harvest(connection: Connection, run_id: str, harvest_key: str) -> None:
    """Record which harvest a run uses."""
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(harvest_key=harvest_key))


def server_form(connection: Connection, run_id: str, server_key: str) -> dict[str, Any] | None:
    """The form of the requests to a server as it was found out for a run; None if it was not."""
    kept = connection.execute(sa.select(runs.c.servers).where(runs.c.run_id == run_id)).scalar()
    form: dict[str, Any] | None = json.loads(kept or "{}").get(server_key)
    return form


def keep_server_form(connection: Connection, run_id: str, server_key: str, form: Mapping[str, Any]) -> bool:
    """Keep the form of the requests to a server for a run; False if there is one already, which stays."""
    kept = connection.execute(
        sa.select(runs.c.servers).where(runs.c.run_id == run_id).with_for_update(key_share=True)
    ).scalar()
    forms = json.loads(kept or "{}")
    if server_key in forms:
        return False
    values = {"servers": json.dumps(forms | {server_key: dict(form)}, sort_keys=True)}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))
    return True


def add_time(connection: Connection, run_id: str, stage: str, seconds: float) -> None:
    """Add working time, in seconds, to a stage and to the run."""
    stages = _stages(connection, run_id)
    stages[stage] = stages.get(stage, 0.0) + seconds
    _set_stages(connection, run_id, stages, seconds)


def begin_stage(connection: Connection, run_id: str, stage: str) -> None:
    """Record when a stage was planned; `end_stage` turns this into a duration."""
    stages = _stages(connection, run_id)
    stages.setdefault(_BEGUN + stage, now(connection))
    _set_stages(connection, run_id, stages, 0.0)


def end_stage(connection: Connection, run_id: str, stage: str) -> None:
    """Add the time since a stage was planned to its duration. With many workers, elapsed time is the only measure for one run."""
    stages = _stages(connection, run_id)
    begun = stages.pop(_BEGUN + stage, None)
    if begun is not None:
        seconds = max(0.0, now(connection) - begun)
        stages[stage] = stages.get(stage, 0.0) + seconds
        _set_stages(connection, run_id, stages, seconds)


def stage_seconds(row: RowMapping) -> dict[str, float]:
    """Duration of each ended stage, in seconds."""
    return {stage: seconds for stage, seconds in json.loads(row["stage_s"]).items() if not stage.startswith(_BEGUN)}


def stage_begun(row: RowMapping, stage: str) -> float | None:
    """The time at which an unfinished stage was planned, by the ledger's clock; None if it has ended."""
    begun: float | None = json.loads(row["stage_s"]).get(_BEGUN + stage)
    return begun


def _stages(connection: Connection, run_id: str) -> dict[str, float]:
    row = connection.execute(
        sa.select(runs.c.stage_s).where(runs.c.run_id == run_id).with_for_update(key_share=True)
    ).scalar()
    return dict(json.loads(row or "{}"))


def _set_stages(connection: Connection, run_id: str, stages: dict[str, float], seconds: float) -> None:
    values = {"stage_s": json.dumps(stages), "wall_s": runs.c.wall_s + seconds, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def no_such_run(run_id: str) -> UsageError:
    """The error for a run id that is not in the ledger."""
    return UsageError(f"no run {run_id} in the ledger: `autointerp runs` lists all runs")
