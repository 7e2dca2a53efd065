"""Explains all features of an index, or a share of them whose explanations are propagated to the rest."""
