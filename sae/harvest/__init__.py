"""Exemplars of many units in one pass over a corpus, in mergeable sketches."""
