"""The schema revisions that this version knows, read from the file names of the migrations.

This needs neither SQLAlchemy nor Alembic, so that `autointerp doctor` and commands with nothing to migrate start fast.
"""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Revisions such as `0004`, oldest first."""
    return sorted(path.name[1:5] for path in MIGRATIONS.glob("versions/m*.py"))
