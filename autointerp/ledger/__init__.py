"""The durable record of every run, in SQLite by default or in PostgreSQL when several hosts share it."""
