"""Reads activations that were measured elsewhere, from Neuronpedia's exports or SAEDashboard's files, as units and exemplars.

Neuronpedia's `activations/batch-N.jsonl.gz` have one text a line, with `index`, `tokens` and `values`; `features/batch-N.jsonl.gz` beside them
have the densities (hijohnnylin/neuronpedia, `export-data.py`). SAEDashboard's `batch-N.json` have a list `features`, each with
`activations` (sae-dashboard 0.8.0, `NeuronpediaDashboardBatch`).
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.prompts import batch_files
from autointerp.records import Exemplar, Unit
from sae.harvest.bins import bin_of

_FORMS = "the folder of a Neuronpedia source, its activations/batch-0.jsonl.gz, or SAEDashboard's batch-0.json"


@dataclass(frozen=True)
class GivenActivations:
    """Features and the texts in which they are active."""

    units: Mapping[str, Unit]
    """By unit id. The maximum is that of the given texts; a density that is not stated is NaN."""
    exemplars: Mapping[str, tuple[Exemplar, ...]]
    """By unit id, strongest first. The mark is the most active token."""


def activations_from(path: Path, *, bins: int = 10) -> GivenActivations:
    """The features and texts of a file, or of the folder of a Neuronpedia source. Texts without activation are left out.

    Half of the texts, by their hash, are for explaining (role `explain_top`) and the others for judging (`score`), the same half for
    every unit, so that no judged text has been explained. How the texts were drawn is not known, so that `inclusion_probability` is NaN and
    means over them are not estimates for a corpus. Raises `UsageError`.
    """
    densities: dict[int, float] = {}
    texts: dict[int, dict[tuple[str, ...], tuple[float, ...]]] = defaultdict(dict)
    for index, tokens, values, density in _texts(path):
        if max(values, default=0.0) > 0:
            texts[index][tokens] = values
        if density is not None:
            densities[index] = density
    if not texts:
        raise UsageError(f"{path} has no activations: give {_FORMS}")
    densities |= _densities(path)
    units, exemplars = {}, {}
    for index in sorted(texts):
        maximum = max(map(max, texts[index].values()))
        density = densities.get(index, math.nan)
        unit = Unit(f"feature-{index}", "feature", index, "", "", maximum, density, "alive")
        units[unit.unit_id] = unit
        found = [_exemplar(unit, tokens, values, bins) for tokens, values in texts[index].items()]
        exemplars[unit.unit_id] = tuple(sorted(found, key=lambda e: (-e.activation, e.exemplar_id)))
    return GivenActivations(units, exemplars)


def _exemplar(unit: Unit, tokens: tuple[str, ...], values: tuple[float, ...], bins: int) -> Exemplar:
    mark = max(range(len(values)), key=values.__getitem__)
    fraction = values[mark] / unit.max_activation
    document = int.from_bytes(hashlib.sha256("\0".join(tokens).encode("utf-8", "surrogatepass")).digest()[:6], "big")
    return Exemplar(
        exemplar_id=f"{unit.unit_id}@{document}.{mark}",
        unit_id=unit.unit_id,
        role="score" if document % 2 else "explain_top",
        document=document,
        position=mark,
        activation=values[mark],
        activation_fraction=fraction,
        bin=int(bin_of(values[mark], unit.max_activation, bins)),
        inclusion_probability=math.nan,
        mark=mark,
        tokens=tokens,
        token_activations=values,
    )


_Text = tuple[int, tuple[str, ...], tuple[float, ...], float | None]
"""A feature's index, a text's tokens and activations, and the feature's density if the file states it."""


def _texts(path: Path) -> Iterator[_Text]:
    for file in batch_files.batches(path, "activations", _FORMS):
        for value, where in batch_files.values(file):
            features = value.get("features") if isinstance(value, Mapping) else None
            for feature in features if isinstance(features, list) else [value]:
                yield from _of_feature(feature, where)


def _of_feature(feature: Any, where: str) -> Iterator[_Text]:
    """The texts of a feature of SAEDashboard or of Neuronpedia's API, or the one of a line of an export."""
    try:
        index = int(feature["feature_index"] if "feature_index" in feature else feature["index"])
        density = feature.get("frac_nonzero")
        for text in feature.get("activations", [feature]):
            tokens, values = tuple(map(str, text["tokens"])), tuple(map(float, text["values"]))
            if len(tokens) != len(values):
                raise UsageError(
                    f"{where} has {len(tokens)} tokens and {len(values)} values for feature {index}: give one value for each token"
                )
            if not all(map(math.isfinite, values)):
                raise UsageError(
                    f"{where} has a value for feature {index} that is not a finite number: correct the file"
                )
            yield index, tokens, values, None if density is None else float(density)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{where} has no feature with `index`, `tokens` and `values`: give {_FORMS}") from None


def _densities(path: Path) -> dict[int, float]:
    """The densities in the features of a Neuronpedia source, if its folder was given."""
    if not (path / "features").is_dir():
        return {}
    rows = [row for file in batch_files.batches(path, "features", _FORMS) for row, _ in batch_files.values(file)]
    return {int(row["index"]): float(row["frac_nonzero"]) for row in rows if "index" in row and "frac_nonzero" in row}
