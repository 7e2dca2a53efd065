"""Explanations that a run is given in a file, `explain.from`, instead of asking an explainer for them.

    CSV, TSV      columns unit_id, feature or index, and explanation or description
    JSON          an object of texts by unit; the same under `explanations`, with `by` for their author; or a list of objects with the
                  keys of the columns, as Neuronpedia exports them, whose `explanationModelName` is the author

A unit is named by its id, such as `feature-641` or `neuron-17+`, or as a feature by its number. Of several explanations of a unit the first
counts. Neuronpedia's keys: https://www.neuronpedia.org/api-doc, explanation export.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.messages import clean_text
from autointerp.places import file_error
from autointerp.records import GIVEN, Explanation, ExplanationKey, Outcome
from autointerp.spec.spec import Spec

_UNIT = ("unit_id", "feature", "index", "feature_id")
_TEXT = ("explanation", "description", "label")
_BY = ("explanationModelName", "explainer", "by")
_UNIT_ID = re.compile(r"feature-\d+|neuron-\d+[+-]")


@dataclass(frozen=True)
class GivenExplanations:
    """Explanations by unit id, and their author. A unit without one has the text ""."""

    by: str
    texts: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Hash of author and texts."""
        return content_hash([self.by, dict(self.texts)])

    @property
    def features(self) -> list[int]:
        """Numbers of the features, ascending."""
        return sorted(int(unit.removeprefix("feature-")) for unit in self.texts if unit.startswith("feature-"))

    @property
    def neurons(self) -> list[str]:
        """Names of the neurons, such as `17+`, sorted."""
        return sorted(unit.removeprefix("neuron-") for unit in self.texts if unit.startswith("neuron-"))

    def explanation(self, unit_id: str) -> Explanation:
        """The explanation of a unit, or that there is none."""
        text, key = self.texts.get(unit_id, ""), ExplanationKey(unit_id)
        if text:
            return Explanation(key, Outcome.SCORED, text, "", None)
        return Explanation(key, Outcome.NO_EXPLANATION, "", f"explain.from has none for {unit_id}", None)

    def facts(self) -> dict[str, Any]:
        """The summary's fields about the explainer."""
        return {"explainer": f"{GIVEN}{self.by}", "explainer_is_llm": False}


def of_spec(spec: Spec) -> GivenExplanations | None:
    """The explanations that the spec gives, None if it gives none. Raises `UsageError`."""
    return read(Path(spec.explain.given).expanduser()) if spec.explain.given else None


def read(path: Path) -> GivenExplanations:
    """The explanations in a file. Raises `UsageError` if it cannot be read or holds none."""
    try:
        stamp = path.stat()
        return _read(path, stamp.st_size, stamp.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"explain.from: {file_error(error, path)}") from None


@lru_cache(maxsize=4)
def _read(path: Path, _size: int, _time: int) -> GivenExplanations:
    try:
        text = path.read_text(encoding="utf-8-sig")
        by, rows = _rows(text, path)
    except (ValueError, csv.Error) as error:
        raise UsageError(
            f"explain.from = {path} cannot be read ({error}): give CSV, or JSON of texts by unit"
        ) from None
    texts: dict[str, str] = {}
    for number, (unit, explanation) in enumerate(rows, 1):
        unit_id = _unit_id(unit)
        if unit_id is None:
            raise UsageError(
                f"explain.from = {path}, entry {number}: {unit!r} is no unit: write feature-641, neuron-17+ or 641"
            )
        texts.setdefault(unit_id, clean_text(explanation.strip()))
    if not any(texts.values()):
        raise UsageError(f"explain.from = {path} holds no explanation: give a row or a key for each unit")
    return GivenExplanations(by or path.name, texts)


def _rows(text: str, path: Path) -> tuple[str, list[tuple[Any, str]]]:
    """The author, if the file names one, and (unit, explanation) of each entry."""
    if path.suffix.lower() not in (".json", ".jsonl"):
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        return _entries(csv.DictReader(StringIO(text), delimiter=delimiter), path)
    lines = (
        [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix.lower() == ".jsonl" else None
    )
    data = json.loads(text) if lines is None else lines
    by = ""
    if isinstance(data, dict) and isinstance(data.get("explanations"), dict | list):
        by, data = str(data.get("by") or ""), data["explanations"]
    if isinstance(data, dict):
        if wrong := next((unit for unit, given in data.items() if not isinstance(given, str | None)), None):
            raise ValueError(f"{wrong} has no text")
        return by, [(unit, given or "") for unit, given in data.items()]
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise ValueError("it is neither an object nor a list of objects")
    named, rows = _entries(data, path)
    return by or named, rows


def _entries(entries: Iterable[Mapping[str, Any]], path: Path) -> tuple[str, list[tuple[Any, str]]]:
    rows: list[tuple[Any, str]] = []
    authors: dict[str, None] = {}
    for entry in entries:
        unit, text = (next((entry[key] for key in keys if entry.get(key) is not None), None) for keys in (_UNIT, _TEXT))
        if unit is None or text is None:
            raise UsageError(
                f"explain.from = {path}, entry {len(rows) + 1}: it has {', '.join(map(str, entry))}, not one of {', '.join(_UNIT)} and one of"
                f" {', '.join(_TEXT)}"
            )
        rows.append((unit, str(text)))
        authors |= {str(entry[key]): None for key in _BY if entry.get(key)}
    return ", ".join(list(authors)[:3]), rows


def _unit_id(unit: Any) -> str | None:
    text = str(unit).strip()
    if text.isascii() and text.isdecimal():
        return f"feature-{int(text)}"
    return text if _UNIT_ID.fullmatch(text) else None
