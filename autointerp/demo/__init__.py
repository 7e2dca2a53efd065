"""A complete evaluation on one machine, from published packages alone."""
