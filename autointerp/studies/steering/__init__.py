"""Steering: features and neurons set to chosen activations while the subject continues prompts, and case files that check this."""
