"""The table of studies. A study's module, which loads torch, is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from autointerp.studies.study import Study

STUDIES: dict[str, str] = {
    "steer": "autointerp.studies.steering.study:steer",
    "steer-cases": "autointerp.studies.steering.case_study:cases_in",
    "attribute": "autointerp.studies.attribution.study:Attribute",
    "cover": "autointerp.studies.completeness.study:cover",
    "neighbours": "autointerp.studies.neighbours.study:Neighbours",
    "split": "autointerp.studies.splits.study:Split",
    "find": "autointerp.studies.search.study:find",
    "categories": "autointerp.studies.categories.study:categories",
}
"""Class of each study's settings, or a function that makes them, by the name of its command."""


def make(name: str, settings: dict[str, Any]) -> Study:
    """The study with this name and these settings. Raises `UsageError` for values that exclude each other."""
    module, _, class_name = STUDIES[name].partition(":")
    return cast(Study, getattr(import_module(module), class_name)(**settings))
