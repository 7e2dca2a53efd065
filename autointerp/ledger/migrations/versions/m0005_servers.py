"""A column for how a run's judges are asked at their servers, as found out before its first question."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "runs",
        sa.Column(
            "servers",
            sa.Text(),
            server_default="{}",
            nullable=False,
            comment="JSON: form of the requests to each judge's server",
        ),
    )
