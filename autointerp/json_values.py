"""Python and numpy values as JSON values. NaN and infinity become null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def none_if_nan(value: Any) -> Any:
    """The value, or None if it is a NaN or infinite float. Values of other types are returned as they are."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """The value built of JSON types only: numpy scalars unwrapped, sequences and sets as lists, keys as strings, NaN as None.

    A pydantic model becomes an object of the fields that were set; any other type becomes its string.
    """
    if isinstance(value, BaseModel):
        return plain(value.model_dump(by_alias=True, exclude_unset=True))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NA or none_if_nan(value) is None:
        return None
    return str(value) if value is not None and not isinstance(value, str | bool | int | float) else value
