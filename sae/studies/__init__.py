"""Computations of the studies: attribution, interventions, matching, search."""
