"""Units that fire on a text: what a search by text finds, in the terms of an index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Firing:
    """The rows of the units that fire on a text, and the largest share of its maximum that each reaches there."""

    rows: NDArray[np.int64]
    shares: NDArray[np.float32]
