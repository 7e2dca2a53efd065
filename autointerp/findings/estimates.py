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


class Corrected(Figure):
    """A mean or difference corrected by labels (prediction-powered inference)."""

    judge: float | None
    """The same figure by the judge alone."""
    n_labels: int
    n_units: int
    """Units that have a label."""
    power: float | None
    """Weight of the judge's grades in the estimate, 0 to 1."""


class CorrectedHeadline(Part):
    """The headline corrected by labels."""

    features: Corrected
    neurons: Corrected
    difference: Corrected
