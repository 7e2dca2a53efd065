"""A whole dictionary in a browser: its index, and the pages over it."""
