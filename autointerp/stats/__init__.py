"""Statistics over units, as pure functions of the result tables."""
