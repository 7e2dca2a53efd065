"""Contrastive evaluations: which of two texts activates the unit, over windows of the corpus and over written pairs."""
