"""`autointerp cover`: which concepts of a list a dictionary has features for, and how that depends on their frequency."""
