"""The service: Celery tasks that lease jobs from the ledger and call `autointerp`. They decide nothing themselves."""
