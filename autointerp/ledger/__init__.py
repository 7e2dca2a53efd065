"""The durable truth of every run: SQLAlchemy over SQLite by default, PostgreSQL when several hosts share it."""

from autointerp.ledger.store import Ledger

__all__ = ["Ledger"]
