"""The embedded judge: a baseline without a language model, for tests and the demo."""
