"""SAELens' format: read and written."""
