"""Explanations by unit, from an explainer or from a file, and the file in which a run is given them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from sae.files import write_text

AUTHOR = "by hand"
"""The author of explanations that are given as a mapping."""


def source_of(explanations: Any, folder: Path, *, by: str = AUTHOR) -> str | None:
    """The file that `explain.from` names. A mapping of texts by unit is written below `folder`. Raises `UsageError` for anything else."""
    if explanations is None:
        return None
    if isinstance(explanations, str | os.PathLike):
        return str(explanations)
    if not isinstance(explanations, Mapping):
        raise UsageError(
            f"explanations is a {type(explanations).__name__}: give texts by unit, such as {{'feature-641': 'colours'}}, or a file"
        )
    texts = {str(unit): text for unit, text in explanations.items()}
    if wrong := next((unit for unit, text in texts.items() if not isinstance(text, str | None)), None):
        raise UsageError(f"explanations[{wrong!r}] is a {type(texts[wrong]).__name__}: give a text")
    path = folder / "artifacts" / "explanations" / f"{content_hash([by, texts])[:16]}.json"
    if not path.is_file():
        write_text(path, json.dumps({"by": by, "explanations": texts}, ensure_ascii=False, indent=1))
    return str(path)
