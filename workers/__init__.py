"""The service: Celery tasks that lease jobs from the ledger and call `autointerp`, which holds all of the logic."""
