"""Measurements of a dictionary: fit, density, correlation, the effect of steering."""
