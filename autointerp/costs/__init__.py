"""Forecasts of a run's questions, tokens, dollars and precision."""
