"""Ranks evaluations by how well they tell right explanations from wrong ones, on planted worlds in which both are known."""
