"""A column for the worker that has claimed a provider batch, so that the batches of one that died are due at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "batches",
        sa.Column(
            "claimed_by",
            sa.String(64),
            server_default="",
            nullable=False,
            comment="the worker that last claimed it",
        ),
    )
