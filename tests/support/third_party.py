"""A package with entry points, as an installer leaves it: importable, with its metadata beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from autointerp.scorers import registry
from autointerp.spec import third_party

SOURCE = """
import json
from autointerp.messages import Reply, Usage
from autointerp.scorers.base import Scorer, Scores

class Echo:
    is_llm = True
    def __init__(self, settings):
        self.name = settings.model
    def identity(self):
        return {"provider": "echo", "model": self.name}
    def ask(self, prompt):
        asked = prompt.schema["properties"]
        grade = {"reason": "it is said", "grade": 2} if "grade" in asked else {"explanation": "words of one kind"}
        return Reply(json.dumps(grade), "complete", Usage(10, 5), "echo-1")
    def count_tokens(self, prompt):
        return None
    def close(self):
        pass

class Length(Scorer):
    name = "length"
    source = "a test"
    needs_explanation = True
    steps = ()
    figures = {"words": "number of words of the explanation"}
    chance = None
    def score(self, case, answers):
        return Scores({"words": float(len(case.explanation.split()))}, 1, 0)
"""
"""A module with a judge `Echo`, which grades everything 2, and a scorer `Length`, which counts an explanation's words."""


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: Mapping[str, Mapping[str, str]],
    source: str = SOURCE,
    name: str = "others-package",
) -> None:
    """Put a package into `folder` and `folder` on the path: its module has the `source`, its metadata the entry points by group and name."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    sys.modules.pop(module, None)  # of an earlier test
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
