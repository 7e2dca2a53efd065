"""The first schema: runs, jobs, calls, explanations, judgements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False, comment="the resolved spec, TOML"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="running | stopped | done | withheld"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it stopped"),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("wall_s", sa.Float(), nullable=False, comment="seconds of work over all sittings"),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.Column("reserved_usd", sa.Float(), nullable=False, comment="upper bound of what calls in flight may cost"),
        sa.Column("lost_usd", sa.Float(), nullable=False, comment="upper bound of calls whose cost is unknown"),
        sa.Column("stage_s", sa.Text(), nullable=False, comment="JSON: seconds a stage"),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_table(
        "texts",
        sa.Column("text_hash", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("text_hash"),
    )
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "call_key", sa.String(length=64), nullable=False, comment="hash of everything that decides the answer"
        ),
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("job_key", sa.String(length=64), nullable=False),
        sa.Column("judge", sa.String(length=128), nullable=False),
        sa.Column("served_model", sa.String(length=128), nullable=False),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="open | scored | an unscored outcome | error | lost"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("system_hash", sa.String(length=64), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_read_tokens", sa.Integer(), nullable=False),
        sa.Column("reserved_usd", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=True, comment="null: the price is unknown"),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_calls_run_id")),
        sa.ForeignKeyConstraint(["system_hash"], ["texts.text_hash"], name=op.f("fk_calls_system_hash")),
        sa.PrimaryKeyConstraint("call_id"),
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_calls_call_key"), ["call_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_calls_run_id_state"), ["run_id", "state"], unique=False)

    op.create_table(
        "explanations",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("call_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_explanations_run_id")),
        sa.PrimaryKeyConstraint("run_id", "unit_id"),
    )
    op.create_table(
        "jobs",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column(
            "job_key", sa.String(length=64), nullable=False, comment="hash of stage, unit, exemplar, arm and repeat"
        ),
        sa.Column("stage", sa.String(length=16), nullable=False, comment="explain | score"),
        sa.Column("place", sa.Integer(), nullable=False, comment="order of work: shuffled over units, bins and arms"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="pending | leased | waiting | done | failed"),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("exemplar_id", sa.String(length=80), nullable=False),
        sa.Column("arm", sa.String(length=16), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("explanation_unit_id", sa.String(length=32), nullable=False, comment="whose explanation is shown"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_jobs_run_id")),
        sa.PrimaryKeyConstraint("run_id", "job_key"),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_jobs_run_id_stage_state_place"), ["run_id", "stage", "state", "place"], unique=False
        )

    op.create_table(
        "judgements",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("job_key", sa.String(length=64), nullable=False),
        sa.Column("exemplar_id", sa.String(length=80), nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("arm", sa.String(length=16), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("explanation_unit_id", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("call_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_judgements_run_id")),
        sa.PrimaryKeyConstraint("run_id", "job_key"),
    )


def downgrade() -> None:
    op.drop_table("judgements")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_run_id_stage_state_place"))

    op.drop_table("jobs")
    op.drop_table("explanations")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_calls_run_id_state"))
        batch_op.drop_index(batch_op.f("ix_calls_call_key"))

    op.drop_table("calls")
    op.drop_table("texts")
    op.drop_table("runs")
