"""Tables of the service: workers that hold leases, budgets of nights and months, batches, events, nightly scoring."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column(
            "anchor_set",
            sa.String(length=64),
            nullable=False,
            comment="hash of what must stay alike from night to night",
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "night",
            sa.String(length=10),
            nullable=False,
            comment="the first night chose them; each later one asks again",
        ),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("item", sa.Text(), nullable=False, comment="JSON: grade it was chosen by, explanation, tokens, mark"),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("call_key", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("anchor_set", "number", "night"),
    )
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(length=32), nullable=False, comment="night 2026-11-21 | month 2026-11"),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.Column("reserved_usd", sa.Float(), nullable=False),
        sa.Column("lost_usd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "dictionaries",
        sa.Column(
            "dictionary_key",
            sa.String(length=64),
            nullable=False,
            comment="hash of a place and of the state of its files",
        ),
        sa.Column("fingerprint", sa.String(length=64), nullable=False, comment="hash of the weights; empty: corrupt"),
        sa.Column("lineage", sa.Text(), nullable=False, comment="the dictionary of which this is a version"),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.String(length=12),
            nullable=False,
            comment="waiting | queued | scored | failed | copy | corrupt",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it waits, failed or is corrupt; what it copies"),
        sa.Column(
            "change", sa.Float(), nullable=True, comment="relative change of the decoder; null: the first version"
        ),
        sa.Column("sketch", sa.Text(), nullable=False, comment="the decoder's, base64: a later version's change"),
        sa.Column("forecast_usd", sa.Float(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=False),
        sa.Column("first_seen", sa.Float(), nullable=False),
        sa.Column("night", sa.String(length=10), nullable=False, comment="the last night that dealt with it"),
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.PrimaryKeyConstraint("dictionary_key"),
    )
    with op.batch_alter_table("dictionaries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dictionaries_night"), ["night"], unique=False)
        batch_op.create_index(
            "uq_dictionaries_fingerprint",
            ["fingerprint"],
            unique=True,
            sqlite_where=sa.text("state not in ('copy', 'corrupt')"),
            postgresql_where=sa.text("state not in ('copy', 'corrupt')"),
        )

    op.create_table(
        "events",
        sa.Column("event_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=96), nullable=False, comment="empty: not of one run"),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False, comment="info | warning | error"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_run_id_event_id"), ["run_id", "event_id"], unique=False)

    op.create_table(
        "nights",
        sa.Column("date", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False, comment="running | done"),
        sa.Column("usd", sa.Float(), nullable=True, comment="what the night may spend"),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("date"),
    )
    op.create_table(
        "workers",
        sa.Column(
            "worker_id",
            sa.String(length=64),
            nullable=False,
            comment="host, process and a random part: one life of a process",
        ),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("queues", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False, comment="live | gone"),
        sa.Column("beat", sa.Integer(), nullable=False, comment="counts up while it lives"),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("beat_at", sa.Float(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workers_state"), ["state"], unique=False)

    op.create_table(
        "batches",
        sa.Column("batch_key", sa.String(length=64), nullable=False, comment="ours, made before it is submitted"),
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("judge", sa.String(length=128), nullable=False),
        sa.Column(
            "state", sa.String(length=12), nullable=False, comment="prepared | submitted | collected | dissolved"
        ),
        sa.Column("provider_id", sa.String(length=128), nullable=False, comment="the provider's name for it"),
        sa.Column(
            "input_file",
            sa.String(length=128),
            nullable=False,
            comment="uploaded items, where the provider wants a file",
        ),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("next_poll", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_batches_run_id")),
        sa.PrimaryKeyConstraint("batch_key"),
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batches_run_id_state"), ["run_id", "state"], unique=False)

    # The same question can be open twice only if a kill left it behind: keep the newest, write off the others.
    twice = "state = 'open' AND call_id NOT IN (SELECT max(call_id) FROM calls WHERE state = 'open' GROUP BY call_key)"
    usd = f"(SELECT coalesce(sum(calls.reserved_usd), 0) FROM calls WHERE calls.run_id = runs.run_id AND {twice})"
    op.execute(f"UPDATE runs SET lost_usd = lost_usd + {usd}, reserved_usd = reserved_usd - {usd}")
    op.execute(f"UPDATE calls SET state = 'lost', reason = 'in flight at a kill' WHERE {twice}")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("worker", sa.String(length=64), server_default="", nullable=False, comment="who makes it")
        )
        batch_op.add_column(
            sa.Column(
                "batch_key",
                sa.String(length=64),
                server_default="",
                nullable=False,
                comment="the batch that carries it",
            )
        )
        batch_op.add_column(
            sa.Column("month", sa.String(length=7), server_default="", nullable=False, comment="the month that pays")
        )
        batch_op.create_index(
            "ix_calls_batch_key",
            ["batch_key"],
            unique=False,
            sqlite_where=sa.text("batch_key <> ''"),
            postgresql_where=sa.text("batch_key <> ''"),
        )
        batch_op.create_index(batch_op.f("ix_calls_started_at"), ["started_at"], unique=False)
        batch_op.create_index(
            "uq_calls_open",
            ["call_key"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "lease_owner", sa.String(length=64), server_default="", nullable=False, comment="worker that holds it"
            )
        )
        batch_op.create_index(
            "ix_jobs_leased",
            ["lease_owner"],
            unique=False,
            sqlite_where=sa.text("lease_owner <> ''"),
            postgresql_where=sa.text("lease_owner <> ''"),
        )
        batch_op.create_index(
            "ix_jobs_waiting",
            ["run_id", "stage", "not_before"],
            unique=False,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )
        batch_op.create_index(
            "ix_jobs_attempts",
            ["run_id", "attempts"],
            unique=False,
            sqlite_where=sa.text("attempts > 0"),
            postgresql_where=sa.text("attempts > 0"),
        )
        batch_op.drop_column("lease_until")

    with op.batch_alter_table("judgements", schema=None) as batch_op:
        batch_op.create_index(
            "ix_judgements_unscored",
            ["run_id", "outcome"],
            unique=False,
            sqlite_where=sa.text("outcome <> 'scored'"),
            postgresql_where=sa.text("outcome <> 'scored'"),
        )

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("carrier", sa.String(length=8), server_default="local", nullable=False, comment="local | fleet")
        )
        batch_op.add_column(
            sa.Column(
                "harvest_key", sa.String(length=16), server_default="", nullable=False, comment="folder of its harvest"
            )
        )
        batch_op.add_column(
            sa.Column("night", sa.String(length=10), server_default="", nullable=False, comment="date key of its night")
        )
        batch_op.create_index(batch_op.f("ix_runs_state"), ["state"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        # Each call updates its run's row twice. Free space on the page lets PostgreSQL keep the new versions there without
        # adding index entries (heap-only tuples).
        op.execute("ALTER TABLE runs SET (fillfactor = 10)")
        op.execute("ALTER TABLE budgets SET (fillfactor = 10)")
