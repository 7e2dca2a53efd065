"""Statistics with their confidence intervals, as they stand in `summary.json`. An interval that cannot be computed is None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def _is_empty(value: Mapping[str, Any]) -> bool:
    return not value


class Part(BaseModel):
    """Base class of every part of `summary.json`. Fields unknown to this version are kept when a summary is read."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    absent: dict[str, str] = Field(default_factory=dict, exclude_if=_is_empty)
    """Why values of this part are null, by field; left out if none is, and for values whose reason is in `why`."""

    def reason(self, field: str) -> str | None:
        """Why a field is null, or has null values; None if no reason is known, as in summaries of early versions."""
        own = getattr(self, "p_superior_why", None) if field.startswith("p_superior") else None
        return self.absent.get(field) or own or getattr(self, "why", None)


class MeanEstimate(Part):
    """A mean over units with its confidence interval."""

    mean: float | None
    """Mean over units; null if no unit has a value."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    n: int
    """Number of units with a value."""
    why: str | None = None
    """Why the mean or its interval is missing; null if both are there."""
    freedom: float | None = None
    """Degrees of freedom of the interval, which measure how many units inform it; null without an interval."""


class Difference(Part):
    """A difference of two means over units with its confidence interval."""

    difference: float | None
    """Difference of the two means; null if either is missing."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    why: str | None = None
    """Why the difference or its interval is missing; null if both are there."""


class PairedDifference(Difference):
    """The mean over units of the difference between two values of the same unit, with its confidence interval."""

    n_units: int
    """Number of units with both values."""


class Figure(Part):
    """A statistic with its confidence interval, or the reason why one of them is missing."""

    value: float | None
    """The statistic; null if it is undefined."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    why: str | None
    """Why the value or its interval is missing; null if both are there."""


def no_figure(why: str) -> Figure:
    """A statistic that is undefined, for the given reason."""
    return Figure(value=None, ci_low=None, ci_high=None, why=why)
