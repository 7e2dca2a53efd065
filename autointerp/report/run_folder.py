"""The results folder of a finished run, by the run's id or its path."""

from __future__ import annotations

from pathlib import Path

from autointerp.errors import UsageError


def folder_of(run: str, results: Path) -> Path:
    """The folder of a finished run, given as its id in `results` or as the folder itself.

    Raises `UsageError` if it does not exist, or if the run is not finished.
    """
    folder = next((path for path in (results / run, Path(run)) if path.is_dir()), None)
    if folder is None:
        raise UsageError(f"there is no run {run!r} in {results}: `autointerp runs` lists those that exist")
    if not (folder / "summary.json").is_file():
        raise UsageError(
            f"{folder} holds no summary.json, so the run is not finished: `autointerp status` shows how far it is"
        )
    return folder
