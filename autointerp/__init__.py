"""Evaluates how interpretable a trained dictionary is, compared with the neurons of its model."""
