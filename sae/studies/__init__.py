"""Computations of the studies: attribution, interventions, matching, search. One module a noun."""
