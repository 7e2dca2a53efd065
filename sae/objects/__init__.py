"""Subjects and dictionaries that are objects in memory, read without a file."""
