"""Neighbours: which features point the same way, where they lie on a map, and the named groups that they form."""
