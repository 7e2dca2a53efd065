"""Windows of units' nearest neighbours, stored beside a harvest: see `sae.analysis.neighbour_windows`."""

from __future__ import annotations

from autointerp.hashing import content_hash
from autointerp.spec.spec import Spec

VERSION = 2
"""Increase it with every change that can alter the neighbours or their windows."""


def names(spec: Spec) -> tuple[str, ...]:
    """Names of the files of the units' neighbours and of their windows; empty if the spec needs neither."""
    if not spec.controls.neighbours:
        return ()
    key = content_hash([VERSION, spec.controls.neighbours])[:12]
    return f"neighbours-{key}-units.parquet", f"neighbours-{key}-windows.parquet"
