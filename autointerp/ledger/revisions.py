"""The revisions of the ledger's schema that this version knows, read from the names of the migrations.

Neither SQLAlchemy nor Alembic is imported: `autointerp doctor` looks here, and most commands find nothing to migrate.
"""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Revisions, oldest first."""
    return sorted(path.name[1:5] for path in MIGRATIONS.glob("versions/m*.py"))
