"""Trains dictionaries, one or several from one stream of activations."""
