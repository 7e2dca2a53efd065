"""Gives units without an explanation that of a labelled unit, with a calibrated probability and the right to say "unknown"."""
