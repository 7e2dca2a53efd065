"""A run from spec to report, in this process or queued for workers."""
