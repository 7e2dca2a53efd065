"""The ledger's tables. The ledger is the truth: whatever a run has done, spent or still owes is a row here.

Changing a table means a new migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, TypeDecorator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s"}
)


class AnyText(TypeDecorator[str]):
    """Text of whatever origin: null bytes become U+2400 and lone surrogates U+FFFD, which no database takes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return (
            None
            if value is None
            else _UNSTORABLE.sub(lambda found: "\u2400" if found[0] == "\x00" else "\ufffd", value)
        )


def _run_id(*, primary_key: bool = False) -> Column[str]:
    return Column("run_id", String(96), ForeignKey("runs.run_id"), primary_key=primary_key, nullable=False)


runs = Table(
    "runs",
    metadata,
    Column("run_id", String(96), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("spec", Text, nullable=False, comment="the resolved spec, TOML"),
    Column("state", String(16), nullable=False, comment="running | stopped | done | withheld"),
    Column("reason", AnyText, nullable=False, default="", comment="why it stopped"),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("wall_s", Float, nullable=False, default=0.0, comment="seconds of work over all sittings"),
    Column("spent_usd", Float, nullable=False, default=0.0),
    Column("reserved_usd", Float, nullable=False, default=0.0, comment="upper bound of what calls in flight may cost"),
    Column("lost_usd", Float, nullable=False, default=0.0, comment="upper bound of calls whose cost is unknown"),
    Column("stage_s", Text, nullable=False, default="{}", comment="JSON: seconds a stage"),
)

jobs = Table(
    "jobs",
    metadata,
    _run_id(primary_key=True),
    Column("job_key", String(64), primary_key=True, comment="hash of stage, unit, exemplar, arm and repeat"),
    Column("stage", String(16), nullable=False, comment="explain | score"),
    Column("place", Integer, nullable=False, comment="order of work: shuffled over units, bins and arms"),
    Column("state", String(16), nullable=False, comment="pending | leased | waiting | done | failed"),
    Column("unit_id", String(32), nullable=False),
    Column("exemplar_id", String(80), nullable=False, default=""),
    Column("arm", String(16), nullable=False, default=""),
    Column("repeat", Integer, nullable=False, default=0),
    Column("explanation_unit_id", String(32), nullable=False, default="", comment="whose explanation is shown"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", Float, nullable=False, default=0.0),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("last_error", AnyText, nullable=False, default=""),
    Index(None, "run_id", "stage", "state", "place"),
)

texts = Table(
    "texts",
    metadata,
    Column("text_hash", String(64), primary_key=True),
    Column("text", AnyText, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Integer, primary_key=True, autoincrement=True),
    Column("call_key", String(64), nullable=False, comment="hash of everything that decides the answer"),
    _run_id(),
    Column("job_key", String(64), nullable=False),
    Column("judge", String(128), nullable=False),
    Column("served_model", String(128), nullable=False, default=""),
    Column("state", String(16), nullable=False, comment="open | scored | an unscored outcome | error | lost"),
    Column("reason", AnyText, nullable=False, default=""),
    Column("system_hash", String(64), ForeignKey("texts.text_hash"), nullable=False),
    Column("user", AnyText, nullable=False),
    Column("reply", AnyText, nullable=False, default=""),
    Column("input_tokens", Integer, nullable=False, default=0),
    Column("output_tokens", Integer, nullable=False, default=0),
    Column("cache_write_tokens", Integer, nullable=False, default=0),
    Column("cache_read_tokens", Integer, nullable=False, default=0),
    Column("reserved_usd", Float, nullable=False, default=0.0),
    Column("cost_usd", Float, nullable=True, comment="null: the price is unknown"),
    Column("request_id", String(128), nullable=False, default=""),
    Column("started_at", Float, nullable=False),
    Column("duration_s", Float, nullable=False, default=0.0),
    Index(None, "call_key"),
    Index(None, "run_id", "state"),
)

explanations = Table(
    "explanations",
    metadata,
    _run_id(primary_key=True),
    Column("unit_id", String(32), primary_key=True),
    Column("outcome", String(24), nullable=False),
    Column("text", AnyText, nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("call_key", String(64), nullable=True),
)

judgements = Table(
    "judgements",
    metadata,
    _run_id(primary_key=True),
    Column("job_key", String(64), primary_key=True),
    Column("exemplar_id", String(80), nullable=False),
    Column("unit_id", String(32), nullable=False),
    Column("arm", String(16), nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("explanation_unit_id", String(32), nullable=False),
    Column("outcome", String(24), nullable=False),
    Column("score", Integer, nullable=True),
    Column("reason", AnyText, nullable=False),
    Column("call_key", String(64), nullable=True),
)
