"""What a reader keeps about units of a dictionary: notes, and lists of units."""
