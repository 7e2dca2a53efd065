"""Prompts for explaining and grading, and the parsing of replies."""
