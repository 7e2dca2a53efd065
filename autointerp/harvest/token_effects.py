"""Tokens that the sampled units promote and suppress, stored beside a harvest for readers: see `sae.analysis.directions`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FILE = "token-effects-1.parquet"
"""The number is increased with every change that can alter the tokens."""
COLUMNS = ("promoted", "suppressed")
"""Columns of the file beside `unit_id`, and of `units.parquet`: the tokens whose logits a unit's direction raises and lowers most."""


def read(harvest: Path) -> pd.DataFrame | None:
    """The tokens of each unit, null for a unit without a direct effect on the logits; None for a harvest of an earlier version."""
    return pd.read_parquet(harvest / FILE) if (harvest / FILE).is_file() else None
