"""Runs as a command line names them: a whole id, the beginning of one, or `latest`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autointerp.errors import UsageError

LATEST = "latest"
"""The name of the newest run."""
_SHOWN = 5


def find(name: str, run_ids: Sequence[str]) -> str:
    """The id among `run_ids`, newest first, that a name stands for; the name itself if there is none.

    Raises `UsageError` for the beginning of several ids, and for `latest` if there are no runs.
    """
    if name in run_ids:
        return name
    if name == LATEST:
        if not run_ids:
            raise UsageError("there is no latest run yet: start one with `autointerp run SPEC` or `autointerp demo`")
        return run_ids[0]
    fitting = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    if len(fitting) > 1:
        shown = ", ".join(fitting[:_SHOWN]) + (", ..." if len(fitting) > _SHOWN else "")
        raise UsageError(f"{name} is the beginning of {len(fitting)} run ids ({shown}): give more of the id")
    return fitting[0] if fitting else name


def finished(results: Path) -> list[str]:
    """The ids of the runs with results in this folder, those written last first."""
    written = {path.parent.name: path.stat().st_mtime for path in results.glob("*/summary.json")}
    return sorted(written, key=lambda run_id: (-written[run_id], run_id))
