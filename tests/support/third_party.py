"""A package with entry points, as an installer leaves it: importable, with its metadata beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from autointerp.scorers import registry
from autointerp.spec import third_party


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: Mapping[str, Mapping[str, str]],
    source: str = "",
    name: str = "others-package",
) -> None:
    """Put a package into `folder` and `folder` on the path: its module has the `source`, its metadata the entry points by group and name."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    forget()


def forget() -> None:
    """Look for entry points anew."""
    third_party.offered.cache_clear()
    registry._of_package.cache_clear()
