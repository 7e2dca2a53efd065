"""Dictionaries that a spec names as SAELens does: `release/id`."""

from __future__ import annotations

from pathlib import Path

from autointerp.dictionaries import registry
from autointerp.errors import UsageError
from autointerp.spec.spec import Spec


def path_of(name: str) -> str:
    """The path of the dictionary that SAELens calls `name`; any other path unchanged, and all of them without `sae-lens`.

    Raises `UsageError` for a dictionary that cannot be read here.
    """
    if "/" not in name or Path(name).expanduser().exists() or not registry.is_installed():
        return name
    entry = next((entry for entry in registry.load() if name in entry.names), None)
    if entry is not None and entry.unread:
        raise UsageError(f"dictionary {name} of SAELens cannot be read: {entry.unread}")
    return name if entry is None else entry.path


def resolved(spec: Spec) -> Spec:
    """The spec with the path of its dictionary in place of SAELens' name. Raises `UsageError`."""
    path = path_of(spec.dictionary.path)
    if path == spec.dictionary.path:
        return spec
    return spec.model_copy(update={"dictionary": spec.dictionary.model_copy(update={"path": path})})
