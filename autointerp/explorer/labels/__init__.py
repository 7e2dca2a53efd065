"""Explains and grades any units of an index with a judge, and says the price first."""
