"""The durable truth of every run: SQLAlchemy over SQLite by default, PostgreSQL when several hosts share it."""

from autointerp.ledger.database import Ledger

__all__ = ["Ledger"]
