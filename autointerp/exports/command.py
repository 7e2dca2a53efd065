"""`autointerp export`: reads a finished run and hands it to the module of a format."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables
from autointerp.exports.targets import TARGETS, Target
from autointerp.places import open_folder, writing
from autointerp.report.run_folder import folder_of


def export(run: str, to: str, results: Path, *, out: Path | None, name: str | None, public: bool) -> str:
    """Export a finished run, and return where the export is.

    `out` is by default `exports/FORMAT` in the run's folder. Raises `UsageError` if the run is not finished, a package is missing, or an
    option does not fit the format.
    """
    target = TARGETS[to]
    _check(target, out, name, public)
    module = _module(target)
    finished = RunTables.read(folder_of(run, results))
    folder = out or finished.folder / "exports" / target.name
    if not target.is_remote:
        open_folder(folder)
    with writing(folder):
        where: str = module.export(finished, Request(folder, name, public))
    return where


def _check(target: Target, out: Path | None, name: str | None, public: bool) -> None:
    if target.needs_name and name is None:
        raise UsageError(f"--to {target.name} needs --name: give {target.naming}")
    if name is not None and not target.naming:
        raise UsageError(f"--name has no meaning with --to {target.name}: remove it")
    if out is not None and target.is_remote:
        raise UsageError(f"--out has no meaning with --to {target.name}, which uploads: remove it")
    if public and not target.is_remote:
        raise UsageError(f"--public has no meaning with --to {target.name}, which uploads nothing: remove it")


def _module(target: Target) -> Any:
    try:
        return import_module(f"autointerp.exports.{target.module}")
    except ModuleNotFoundError as error:
        if not target.packages or (error.name or "").startswith("autointerp"):
            raise
        raise UsageError(
            f"--to {target.name} needs {error.name}, which is not installed: pip install {' '.join(target.packages)}"
        ) from None
