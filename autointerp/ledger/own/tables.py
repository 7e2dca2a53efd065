"""The ledger's tables of what a reader keeps about units of a dictionary: notes, and lists of units.

Their key is the dictionary and not the run, so that they are there in every index of it.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, Table

from autointerp.ledger.metadata import metadata, partial_index
from autointerp.ledger.text_column import AnyText, ShortText

unit_notes = Table(
    "unit_notes",
    metadata,
    Column(
        "dictionary", ShortText(64), primary_key=True, comment="hash of the weights, or of the path, and hook point"
    ),
    Column("unit_id", ShortText(32), primary_key=True),
    Column("text", AnyText, nullable=False, comment="empty: deleted"),
    Column("version", Integer, nullable=False, comment="counts the changes, from 1"),
    Column("changed_at", Float, nullable=False),
)

unit_lists = Table(
    "unit_lists",
    metadata,
    Column("list_id", Integer, primary_key=True, autoincrement=True),
    Column("dictionary", ShortText(64), nullable=False),
    Column("name", ShortText(80), nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("deleted_at", Float, nullable=True, comment="null: not deleted"),
    Index(None, "dictionary"),
    partial_index("uq_unit_lists_name", "dictionary", "name", where="deleted_at IS NULL", unique=True),
)

list_members = Table(
    "list_members",
    metadata,
    Column("list_id", Integer, ForeignKey("unit_lists.list_id"), primary_key=True),
    Column("unit_id", ShortText(32), primary_key=True),
    Column("place", Integer, nullable=False, comment="order in the list"),
)
