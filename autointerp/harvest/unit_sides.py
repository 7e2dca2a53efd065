"""Both sides of the sampled units, stored beside a finished harvest: what makes them fire, and what they make the subject say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from autointerp.spec.spec import Spec

VERSION = 1
"""Increase it with every change that can alter the figures."""
COLUMNS = [
    "unit_id", "side", "input_told", "input_p", "output_rise", "output_random_rise", "output_p", "output_precision",
    "output_random_precision", "decoder_precision", "decoder_random_precision", "raised", "decoder_raised",
]  # fmt: skip
"""Columns of the file, and of `units.parquet`, where they are null for units that are not measured."""


def names(spec: Spec) -> tuple[str, ...]:
    """Name of the file; empty if the spec does not request it. Everything that decides its content is in the name of the folder."""
    return (f"sides-{VERSION}.parquet",) if spec.studies.two_sided else ()


def read(harvest: Path, spec: Spec) -> pd.DataFrame | None:
    """The sides of the measured units, one row each, with `COLUMNS`; None if the spec does not request them."""
    files = names(spec)
    return pd.read_parquet(harvest / files[0]) if files and (harvest / files[0]).is_file() else None
