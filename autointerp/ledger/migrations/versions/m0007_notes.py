"""Tables for the notes of readers about units of a dictionary, and for their lists of units."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unit_notes",
        sa.Column(
            "dictionary", sa.String(64), nullable=False, comment="hash of the weights, or of the path, and hook point"
        ),
        sa.Column("unit_id", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="empty: deleted"),
        sa.Column("version", sa.Integer(), nullable=False, comment="counts the changes, from 1"),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("dictionary", "unit_id"),
    )
    op.create_table(
        "unit_lists",
        sa.Column("list_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("dictionary", sa.String(64), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=True, comment="null: not deleted"),
        sa.PrimaryKeyConstraint("list_id"),
    )
    op.create_index("ix_unit_lists_dictionary", "unit_lists", ["dictionary"])
    where = sa.text("deleted_at IS NULL")
    op.create_index(
        "uq_unit_lists_name", "unit_lists", ["dictionary", "name"], unique=True, sqlite_where=where,
        postgresql_where=where,
    )  # fmt: skip
    op.create_table(
        "list_members",
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.String(32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False, comment="order in the list"),
        sa.ForeignKeyConstraint(["list_id"], ["unit_lists.list_id"], name="fk_list_members_list_id"),
        sa.PrimaryKeyConstraint("list_id", "unit_id"),
    )
