"""Finds units of an index by words, by meaning, by the values of their columns, and by name."""
