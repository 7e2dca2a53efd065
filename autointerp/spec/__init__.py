"""Specs and rubrics: what a user writes, validated."""
