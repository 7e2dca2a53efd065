"""The durable record of every run: SQLAlchemy over SQLite by default, PostgreSQL when several hosts share it."""
