"""Figures with their intervals, as they stand in `summary.json`. An interval that cannot be given is None."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of everything in `summary.json`. Fields that a later version adds are kept when a summary is read."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class MeanEstimate(Part):
    """A mean over units with its interval."""

    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    """Units that have a value."""


class Difference(Part):
    """A difference of two means over units with its interval."""

    difference: float | None
    ci_low: float | None
    ci_high: float | None


class PairedDifference(Difference):
    """A mean of differences within a unit."""

    n_units: int


class Figure(Part):
    """One figure with its interval."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    why: str | None
    """Why the value or its interval is missing."""


def no_figure(why: str) -> Figure:
    """A figure that cannot be given."""
    return Figure(value=None, ci_low=None, ci_high=None, why=why)
