"""Models that explain or grade, one module for each provider, behind the protocols in `base` and `batch_api`."""
