"""Nightly scoring: finds new dictionaries, scores them within a budget, and compares each with its previous version."""
