"""What readers are shown of a table."""

from __future__ import annotations

import pandas as pd

from autointerp.studies.finding import Listing

FRAME = pd.DataFrame(
    {
        "unit": ["feature-1", "feature-2", "feature-3"],
        "explanation": ["", "", "late"],
        "found": pd.array([True, False, None], dtype="boolean"),
        "n": [1000, 2, 3],
        "x": [0.12345, -1.0, float("nan")],
    }
)
COLUMNS = {"unit": "feature", "explanation": "explanation", "found": "found", "n": "tokens", "x": "cosine"}


def test_cells_are_text() -> None:
    shown = Listing("t", "All", FRAME, COLUMNS).shown()
    assert shown.caption == "All"
    assert shown.header == ("feature", "explanation", "found", "tokens", "cosine")
    assert shown.rows == (
        ("feature-1", "", "yes", "1,000", "0.123"),
        ("feature-2", "", "no", "2", "\u22121"),
        ("feature-3", "late", "n/a", "3", "n/a"),
    )


def test_columns_that_are_empty_in_all_rows_shown_are_left_out() -> None:
    shown = Listing("t", "First", FRAME, COLUMNS, rows=2).shown()
    assert shown.caption == "First (2 of 3 rows; all in t.parquet)"
    assert shown.header == ("feature", "found", "tokens", "cosine")
    assert Listing("t", "None", FRAME.head(0), COLUMNS).shown().header == tuple(COLUMNS.values())
