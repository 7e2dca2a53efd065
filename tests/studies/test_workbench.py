"""What a study reads of the runs that are its inputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from autointerp.judges.embedded.explanation_parser import NOTHING
from autointerp.studies.workbench import explanations_of


def test_an_explanation_that_makes_no_claim_is_none(tmp_path: Path) -> None:
    rows = {"feature-1": "cities", "feature-2": NOTHING, "feature-3": None, "feature-4": ""}
    pd.DataFrame(rows.items(), columns=["unit_id", "explanation"]).to_parquet(tmp_path / "units.parquet")
    assert explanations_of(tmp_path) == {"feature-1": "cities"}
