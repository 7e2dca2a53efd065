"""One unit of a finished run, with the windows that were harvested of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from autointerp.errors import UsageError
from autointerp.formatting import number
from autointerp.report import notebook
from autointerp.report.contexts import Row
from autointerp.report.notebook import Shown

SHOWN = 10
"""Windows shown of a unit by default."""


class UnitResult:
    """A feature, a neuron of one sign, or a control unit. In a notebook it shows its explanation and its strongest windows.

    `exemplars` are all windows harvested of it, strongest first: the columns of exemplars.parquet.
    """

    def __init__(self, row: Row, exemplars: pd.DataFrame, judged: list[Row]) -> None:
        self._row = row
        self.exemplars = exemplars.sort_values("activation", ascending=False, ignore_index=True)
        self._judged = judged

    @property
    def id(self) -> str:
        """The unit's id, such as `feature-641`."""
        return str(self._row["unit_id"])

    @property
    def explanation(self) -> str | None:
        """The explanation; None if the unit has none."""
        text: str | None = self._row["explanation"]
        return text

    @property
    def mean_score(self) -> float | None:
        """The mean grade over its activation bins, on the rubric's scale; None without a grade."""
        score: float | None = self._row["mean_score"]
        return score

    @property
    def density(self) -> float | None:
        """Share of the counted tokens at which it is active."""
        density: float | None = self._row["density"]
        return density

    @property
    def row(self) -> dict[str, Any]:
        """The unit's row in `Result.units`; missing values are None."""
        return dict(self._row)

    def show(self, top: int = SHOWN) -> Shown:
        """The `top` windows with the strongest activations, at most one of a text, with their grades.

        The object shows itself in a notebook, and prints as text. Raises `AutointerpError` if `top` is less than 1.
        """
        if top < 1:
            raise UsageError(f"top = {top}: show at least one window")
        active = self.exemplars.loc[self.exemplars["activation"] > 0]
        strongest = active.drop_duplicates(["document", "position"]).drop_duplicates("document").head(top)
        grades = {row["exemplar_id"]: row["score"] for row in self._judged if row["arm"] == "main" and not row["again"]}
        windows: list[dict[str, Any]] = strongest.to_dict("records")  # type: ignore[assignment]
        return notebook.unit(self._row, windows, grades)

    def __repr__(self) -> str:
        score = "no grade" if self.mean_score is None else f"mean grade {number(self.mean_score)}"
        return f"{self.id}, {score}: {self.explanation or 'no explanation'}"

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()
