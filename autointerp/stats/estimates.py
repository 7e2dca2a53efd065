"""Figures with their intervals, as they stand in `summary.json`. An interval that cannot be given is None."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of everything in `summary.json`. Fields that a later version adds are kept when a summary is read."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class MeanEstimate(Part):
    """A mean over units with its interval."""

    mean: float | None
    """Mean over units; null without any."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be given."""
    ci_high: float | None
    """Upper end of the interval."""
    n: int
    """Units that have a value."""


class Difference(Part):
    """A difference of two means over units with its interval."""

    difference: float | None
    """Difference of the means; null if either is missing."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be given."""
    ci_high: float | None
    """Upper end of the interval."""


class PairedDifference(Difference):
    """A mean of differences within a unit."""

    n_units: int
    """Units that have both values."""


class Figure(Part):
    """One figure with its interval."""

    value: float | None
    """The figure; null if it is undefined."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be given."""
    ci_high: float | None
    """Upper end of the interval."""
    why: str | None
    """Why the value or its interval is missing."""


def no_figure(why: str) -> Figure:
    """A figure that cannot be given."""
    return Figure(value=None, ci_low=None, ci_high=None, why=why)
