"""The result of a study: sentences, tables, pictures and values, written and shown in the same way for every study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autointerp import formatting
from autointerp.report.tables import Table


@dataclass(frozen=True)
class Listing:
    """A table of a study. All rows and columns go into `NAME.parquet`; readers are shown the first rows of some columns."""

    name: str
    """Stem of the file's name."""
    caption: str
    frame: pd.DataFrame
    columns: Mapping[str, str]
    """Columns that are shown, with their headings, in this order. The first one names the row."""
    rows: int = 20
    """Rows that are shown."""

    def shown(self, rows: int | None = None) -> Table:
        """The rows that are shown, as text, without columns that are empty in all of them."""
        most = self.rows if rows is None else rows
        caption = self.caption
        if len(self.frame) > most:
            caption += f" ({most:,} of {len(self.frame):,} rows; all in {self.name}.parquet)"
        cells = {name: [_cell(value) for value in self.frame[name].head(most)] for name in self.columns}
        used = [name for number, name in enumerate(self.columns) if not number or not cells[name] or any(cells[name])]
        header = tuple(self.columns[name] for name in used)
        return Table(caption, header, tuple(zip(*(cells[name] for name in used), strict=True)))


@dataclass(frozen=True)
class Picture:
    """A figure of a study, as `svg.figure` draws it: the elements take the page's colours, or in `NAME.svg` colours of their own."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Finding:
    """What a study found."""

    title: str
    sentences: tuple[str, ...]
    """The answer first, each a complete sentence with its figures and their intervals."""
    listings: tuple[Listing, ...] = ()
    pictures: tuple[Picture, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """Figures by name, for programs: JSON values or numpy scalars."""
    cautions: tuple[str, ...] = ()
    """What a reader has to know before the sentences are quoted."""


def _cell(value: Any) -> str:
    """A value as text: whole numbers with separated thousands, others with three significant digits."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return formatting.NOT_AVAILABLE
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "\u2212")
    if isinstance(value, int):
        return formatting.count(value)
    return str(value)
