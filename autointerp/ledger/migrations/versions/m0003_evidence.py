"""Tables for judge reliability and scorers: grouped questions, scorers' answers, second judges, human labels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("job_key", sa.String(length=64), nullable=False),
        sa.Column("scorer", sa.String(length=24), nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False, comment="questions of a later step rest on earlier answers"),
        sa.Column("number", sa.Integer(), nullable=False, comment="which of the unit's questions"),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False, comment="JSON, as the scorer read it"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("call_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_answers_run_id")),
        sa.PrimaryKeyConstraint("run_id", "job_key"),
    )
    op.create_index(op.f("ix_answers_run_id_scorer_unit_id"), "answers", ["run_id", "scorer", "unit_id"])
    op.create_table(
        "label_items",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="place in the sample: raters see it in this order"),
        sa.Column("exemplar_id", sa.String(length=80), nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("arm", sa.String(length=16), nullable=False),
        sa.Column("explanation_unit_id", sa.String(length=32), nullable=False, comment="whose explanation is shown"),
        sa.Column("stratum", sa.String(length=48), nullable=False),
        sa.Column(
            "probability", sa.Float(), nullable=False, comment="of being in the sample, given the run's judged items"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_label_items_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number"),
    )
    op.create_table(
        "labels",
        sa.Column("run_id", sa.String(length=96), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rater", sa.String(length=64), nullable=False),
        sa.Column("score", sa.Integer(), nullable=True, comment="null: passed over"),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_labels_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", "rater"),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "items", sa.Text(), server_default="", nullable=False, comment="JSON: what one question asks of several"
        ),
    )
    for column in (
        sa.Column("expected", sa.Float(), nullable=True, comment="mean grade by the judge's own probabilities"),
        sa.Column(
            "judge", sa.String(length=128), server_default="", nullable=False, comment="empty: the spec's judge; second"
        ),
        sa.Column(
            "asked_in", sa.String(length=64), server_default="", nullable=False, comment="job that asked of several"
        ),
    ):
        op.add_column("judgements", column)
