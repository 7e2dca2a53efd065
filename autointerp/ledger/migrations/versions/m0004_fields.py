"""Columns for a job's scorer and step and a stopped run's exit code, which were part of other texts before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "scorer",
            sa.String(length=24),
            server_default="",
            nullable=False,
            comment="empty: the rubric; else its name",
        ),
    )
    op.add_column(
        "jobs", sa.Column("step", sa.Integer(), server_default="0", nullable=False, comment="the scorer's step")
    )
    op.add_column(
        "runs",
        sa.Column(
            "exit_code", sa.Integer(), server_default="0", nullable=False, comment="of the command that stopped it"
        ),
    )
    # Before, a scorer's job had "@SCORER:STEP" as its exemplar id.
    if op.get_bind().dialect.name == "sqlite":
        scorer, step = (
            "substr(exemplar_id, 2, instr(exemplar_id, ':') - 2)",
            "substr(exemplar_id, instr(exemplar_id, ':') + 1)",
        )
    else:
        scorer, step = "substr(split_part(exemplar_id, ':', 1), 2)", "split_part(exemplar_id, ':', 2)"
    op.execute(
        f"UPDATE jobs SET scorer = {scorer}, step = CAST({step} AS INTEGER), exemplar_id = ''"
        " WHERE exemplar_id LIKE '@%'"
    )
    # 4: budget, 5: provider, 130: Ctrl-C. Before, only the reason distinguished them.
    op.execute(
        "UPDATE runs SET exit_code = CASE WHEN reason = 'KeyboardInterrupt' THEN 130"
        " WHEN reason LIKE 'budget.usd %' OR reason LIKE 'the budget of %' THEN 4 ELSE 5 END WHERE state = 'stopped'"
    )
