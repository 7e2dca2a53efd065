"""Builders of the files of a harvest that need the subject or the dictionary's weights."""
