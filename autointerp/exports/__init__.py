"""Finished runs in the formats of other programs and services."""
