"""Rows of `runs`: registering a run, its state, and how long its stages took."""

from __future__ import annotations

import json
import time
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.errors import UsageError
from autointerp.ledger import budgets
from autointerp.ledger.database import insert_new, now, one_at_a_time
from autointerp.ledger.schema import runs

LIVE = ("queued", "running")
_BEGUN = "@"
"""Before a stage in `stage_s`: the value is the time at which the stage was planned, not its seconds."""
Carrier = Literal["local", "fleet"]


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
    """Add a run, or take up the one that is there with the settings of today's spec."""
    now = time.time()
    row = {"run_id": run_id, "name": name, "spec_hash": spec_hash, "spec": spec, "state": state}
    insert_new(connection, runs, [row | {"created_at": now, "updated_at": now}])
    set_state(connection, run_id, state)
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(spec=spec, carrier=carrier))
    if night:
        budgets.move_to_night(connection, run_id, night)


def set_state(connection: Connection, run_id: str, state: str, reason: str = "", exit_code: int = 0) -> None:
    """Note the state of a run. `exit_code` is that of the command that stopped it."""
    values = {"state": state, "reason": reason, "exit_code": exit_code, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def start(connection: Connection, run_id: str) -> bool:
    """Set a queued run running; False when somebody else already did."""
    values = {"state": "running", "updated_at": time.time()}
    mine = sa.and_(runs.c.run_id == run_id, runs.c.state == "queued")
    return connection.execute(sa.update(runs).where(mine).values(**values)).rowcount == 1


def stop(connection: Connection, run_id: str, reason: str, exit_code: int) -> bool:
    """Stop a live run; False when another worker already did."""
    values = {"state": "stopped", "reason": reason, "exit_code": exit_code, "updated_at": time.time()}
    mine = sa.and_(runs.c.run_id == run_id, runs.c.state.in_(LIVE))
    return connection.execute(sa.update(runs).where(mine).values(**values)).rowcount == 1


def begin_harvest(connection: Connection, run_id: str, harvest_key: str) -> bool:
    """Whether the run may read its harvest's shards: of the fleet's live runs that need the same, the first alone may."""
    one_at_a_time(connection, f"harvest {harvest_key}")
    others = sa.and_(runs.c.harvest_key == harvest_key, runs.c.run_id != run_id, runs.c.carrier == "fleet")
    if connection.execute(sa.select(sa.exists().where(others, runs.c.state == "running"))).scalar_one():
        return False
    set_harvest(connection, run_id, harvest_key)
    return True


def get(connection: Connection, run_id: str) -> RowMapping | None:
    return connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).mappings().first()


def hold(connection: Connection, run_id: str) -> RowMapping | None:
    """A run's row, which nobody else changes before this transaction ends."""
    return connection.execute(sa.select(runs).where(runs.c.run_id == run_id).with_for_update()).mappings().first()


def every(connection: Connection) -> list[RowMapping]:
    """All runs, newest first."""
    return list(connection.execute(sa.select(runs).order_by(runs.c.created_at.desc())).mappings())


def live(connection: Connection, carrier: Carrier) -> list[RowMapping]:
    """Runs that are queued or running, oldest first."""
    mine = sa.and_(runs.c.state.in_(LIVE), runs.c.carrier == carrier)
    return list(connection.execute(sa.select(runs).where(mine).order_by(runs.c.created_at)).mappings())


def set_harvest(connection: Connection, run_id: str, harvest_key: str) -> None:
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(harvest_key=harvest_key))


def add_time(connection: Connection, run_id: str, stage: str, seconds: float) -> None:
    """Add working time to a stage and to the run."""
    stages = _stages(connection, run_id)
    stages[stage] = stages.get(stage, 0.0) + seconds
    _set_stages(connection, run_id, stages, seconds)


def begin_stage(connection: Connection, run_id: str, stage: str) -> None:
    """Note when a stage was planned; `end_stage` makes a duration of it."""
    stages = _stages(connection, run_id)
    stages.setdefault(_BEGUN + stage, now(connection))
    _set_stages(connection, run_id, stages, 0.0)


def end_stage(connection: Connection, run_id: str, stage: str) -> None:
    """Count the time since a stage was planned as its own; under many workers no other time is one run's."""
    stages = _stages(connection, run_id)
    begun = stages.pop(_BEGUN + stage, None)
    if begun is not None:
        seconds = max(0.0, now(connection) - begun)
        stages[stage] = stages.get(stage, 0.0) + seconds
        _set_stages(connection, run_id, stages, seconds)


def stage_seconds(row: RowMapping) -> dict[str, float]:
    """Seconds of work of each stage."""
    return {stage: seconds for stage, seconds in json.loads(row["stage_s"]).items() if not stage.startswith(_BEGUN)}


def stage_begun(row: RowMapping, stage: str) -> float | None:
    """When an unfinished stage was planned, by the ledger's clock; None for a finished one."""
    begun: float | None = json.loads(row["stage_s"]).get(_BEGUN + stage)
    return begun


def _stages(connection: Connection, run_id: str) -> dict[str, float]:
    row = connection.execute(sa.select(runs.c.stage_s).where(runs.c.run_id == run_id).with_for_update()).scalar()
    return dict(json.loads(row or "{}"))


def _set_stages(connection: Connection, run_id: str, stages: dict[str, float], seconds: float) -> None:
    values = {"stage_s": json.dumps(stages), "wall_s": runs.c.wall_s + seconds, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def no_such_run(run_id: str) -> UsageError:
    """The error about an id that nothing in the ledger has."""
    return UsageError(f"no run {run_id} in the ledger: `autointerp runs` lists the runs there are")
