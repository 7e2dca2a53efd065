"""Other evaluations of the same units, one module for each."""
