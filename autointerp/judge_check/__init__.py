"""Measures a judge on graded items before it is used."""
